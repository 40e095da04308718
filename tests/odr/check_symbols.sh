#!/bin/sh
# check_symbols.sh NM OBJECT...: fails when two objects define the same softlook symbol, or when
# one defines none (then the test would show nothing). Instantiations of std and Eigen templates over
# softlook types count as softlook symbols: their names hold ours.
set -eu
nm=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

count=0
for object in "$@"; do
  count=$((count + 1))
  # W, V: weak functions and objects; u: unique globals (statics of inline functions); T, D, B, R: strong.
  "$nm" --defined-only --format=posix "$object" |
    awk '$2 ~ /^[WVuTDBR]$/ && $1 ~ /8softlook/ { print $1 }' | sort -u > "$dir/$count"
  printf '%6d softlook symbols in %s\n' "$(wc -l < "$dir/$count")" "$object"
  if ! [ -s "$dir/$count" ]; then
    echo "no softlook symbol found: the check shows nothing"
    exit 1
  fi
done

sort "$dir"/* | uniq -d > "$dir/shared"
if [ -s "$dir/shared" ]; then
  echo "shared by units with different flags:"
  if command -v c++filt > /dev/null; then c++filt < "$dir/shared"; else cat "$dir/shared"; fi
  exit 1
fi
echo "no symbol is shared"
