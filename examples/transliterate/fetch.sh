#!/bin/sh
# sh examples/transliterate/fetch.sh FOLDER: puts two transliterators into FOLDER, once:
# netra.weights.h5 (Latin to Khmer), indicate.encoder.data and indicate.decoder.data (Devanagari to
# Latin), and under which licences they come. They are taken out of the wheels of the PyPI packages
# netra-transliterate (1 MB) and indicate (67 MB), which pip fetches.
# Status: 0 the models are there; 3 they cannot be fetched (no pip, no network); 1 what came is not them.
set -eu
me=examples/transliterate/fetch.sh
what="the models" is=are
files='234b75e01e99af94691c4661bb521a85d713592c937c709df0379a21552fbd22 netra.weights.h5
fe0e24311cc3301dd4876a78e2bf4dc4976f994c94b605ec554a93070994d854 indicate.encoder.data
02ada770ee8ae276dc7c36b322d860fa1f2b92e70878926781d401eff3b026d1 indicate.decoder.data'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
fetch_wheel netra-transliterate 1.0.1 1 \
  6878e5ad5e6b756c823a3dd752f4f4987a46c9a4817d5b96aafbe0470a664219
keras=$work/$package/khmer_transliterator/weights/bi_gru_attention_khmer_transliterator.keras
python3 -m zipfile -e "$keras" "$work/keras" || end 1 "the weights of netra cannot be unpacked"
mv "$work/keras/model.weights.h5" "$work/ready/netra.weights.h5"
mv "$work/$package/netra_transliterate-$version.dist-info/licenses/LICENSE" "$work/ready/LICENSE.netra"

fetch_wheel indicate 0.1.0 67 d168e534d7cf2d158925f873791f4108d554178a2fbb3d8c676997695a549799
for part in encoder decoder; do
  mv "$work/$package/indicate/data/model/hindi_to_english/saved_weights/$part.data-00000-of-00001" \
    "$work/ready/indicate.$part.data"
done
mv "$work/$package/indicate-$version.dist-info/LICENSE" "$work/ready/LICENSE.indicate"
hand_over
