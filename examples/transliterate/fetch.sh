#!/bin/sh
# sh examples/transliterate/fetch.sh FOLDER: puts two transliterators into FOLDER, once:
# netra.weights.h5 (Latin to Khmer), indicate.encoder.data and indicate.decoder.data (Devanagari to
# Latin), and under which licences they come. They are taken out of the wheels of the PyPI packages
# netra-transliterate (1 MB) and indicate (67 MB), which pip fetches.
# Status: 0 the models are there; 3 they cannot be fetched (no pip, no network); 1 what came is not them.
set -eu
me=examples/transliterate/fetch.sh

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
234b75e01e99af94691c4661bb521a85d713592c937c709df0379a21552fbd22 netra.weights.h5
fe0e24311cc3301dd4876a78e2bf4dc4976f994c94b605ec554a93070994d854 indicate.encoder.data
02ada770ee8ae276dc7c36b322d860fa1f2b92e70878926781d401eff3b026d1 indicate.decoder.data
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

[ $# -eq 1 ] || end 2 "usage: sh examples/transliterate/fetch.sh FOLDER"
if is_whole "$1"; then exit 0; fi

python3 -m pip --version > /dev/null 2>&1 ||
  end 3 "the models cannot be fetched: there is no pip (Debian: python3-pip)"

# Beside their place and moved there when they are whole: two at once, or an interruption, do no harm.
mkdir -p "$1"
work=$(mktemp -d "$1/fetching.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# fetch PACKAGE VERSION SIZE SHA256: into work/PACKAGE.
fetch() {
  echo "$me: fetching $1 $2 ($3)"
  if ! python3 -m pip download --no-deps --only-binary :all: --no-cache-dir --no-input --timeout 20 \
    --retries 2 --disable-pip-version-check --dest "$work/wheel" "$1==$2" 2> "$work/log"; then
    reason=$(sed -n 's/^ERROR: //p' "$work/log" | tail -n 1)
    end 3 "the models cannot be fetched, is there no network? pip says: ${reason:-nothing}"
  fi
  wheel=$(find "$work/wheel" -name '*.whl')
  has_sum "$wheel" "$4" || end 1 "the wheel that pip fetched has not the SHA-256 $4"
  python3 -m zipfile -e "$wheel" "$work/$1" || end 1 "the wheel cannot be unpacked"
  rm -r "$work/wheel"
}

fetch netra-transliterate 1.0.1 "1 MB" \
  6878e5ad5e6b756c823a3dd752f4f4987a46c9a4817d5b96aafbe0470a664219
fetch indicate 0.1.0 "67 MB" d168e534d7cf2d158925f873791f4108d554178a2fbb3d8c676997695a549799

mkdir "$work/models"
keras=$work/netra-transliterate/khmer_transliterator/weights/bi_gru_attention_khmer_transliterator.keras
python3 -m zipfile -e "$keras" "$work/keras" || end 1 "the weights of netra cannot be unpacked"
mv "$work/keras/model.weights.h5" "$work/models/netra.weights.h5"
mv "$work/netra-transliterate/netra_transliterate-1.0.1.dist-info/licenses/LICENSE" \
  "$work/models/LICENSE.netra"
for part in encoder decoder; do
  mv "$work/indicate/indicate/data/model/hindi_to_english/saved_weights/$part.data-00000-of-00001" \
    "$work/models/indicate.$part.data"
done
mv "$work/indicate/indicate-0.1.0.dist-info/LICENSE" "$work/models/LICENSE.indicate"
is_whole "$work/models" || end 1 "the wheels do not hold the models"
mv "$work"/models/* "$1"
echo "$me: the models are in $1"
