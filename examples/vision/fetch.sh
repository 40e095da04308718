#!/bin/sh
# sh examples/vision/fetch.sh FOLDER: puts the photograph chelsea.png (a cat; 451x300) into FOLDER,
# once. It is taken out of a wheel of the PyPI package scikit-image (14 MB), which pip fetches; its
# photographer has given it away under CC0, as skimage/data/_fetchers.py there says.
# Status: 0 it is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/vision/fetch.sh
what="the photograph" is=is
files='596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb chelsea.png'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
# One wheel, whatever runs here: only its data are of use.
fetch_wheel scikit-image 0.26.0 14 \
  7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466 \
  --implementation cp --python-version 312 --platform manylinux_2_28_x86_64
mv "$work/$package/skimage/data/chelsea.png" "$work/ready"
hand_over
