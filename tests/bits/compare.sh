#!/bin/sh
# sh tests/bits/compare.sh OTHER_TREE: builds tests/bits with the headers of this tree and with those
# of OTHER_TREE (and its own tests/bits, where it has them), runs both, and shows the lines in which
# they differ. Fails when a bit of a result has changed. CXX chooses the compiler (g++), CXXFLAGS
# its flags (-O2), CC_JOBS how many files are compiled at a time (as many as there are cores).
set -eu
me=tests/bits/compare.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
say() { printf '%s: %s\n' "$me" "$*"; }
die() {
  say "$*" >&2
  exit 2
}

[ $# -eq 1 ] || die "usage: sh tests/bits/compare.sh OTHER_TREE"
other=$(cd "$1" 2> /dev/null && pwd) || die "$1 is not a folder"
[ -d "$other/include/softlook" ] || die "$1 has no include/softlook"

out=$root/build/bits
compiler=${CXX:-g++}
if command -v ccache > /dev/null 2>&1; then compiler="ccache $compiler"; fi
jobs=${CC_JOBS:-$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 1)}
flags="-std=c++20 ${CXXFLAGS:--O2} -pthread"
for eigen in /usr/include/eigen3 /usr/local/include/eigen3; do
  if [ -d "$eigen" ]; then flags="$flags -isystem $eigen"; fi
done

# A tree's program, called by its place: this or other.
prepare() {
  tree=$1 objects=$out/$2
  sources=$tree/tests/bits
  [ -f "$sources/bits.cpp" ] || sources=$root/tests/bits
  mkdir -p "$objects"
  for source in "$sources"/*.cpp; do
    object=$objects/$(basename "$source" .cpp).o
    rm -f "$object"
    printf '%s\n' "$compiler $flags -I '$tree/include' -c '$source' -o '$object'"
  done
}

{
  prepare "$root" this
  prepare "$other" other
} | xargs -P "$jobs" -d '\n' -n 1 sh -c || die "a tree does not compile"

for tree in this other; do
  # shellcheck disable=SC2086
  $compiler -pthread "$out/$tree"/*.o -o "$out/$tree/bits" || die "$tree does not link"
  "$out/$tree/bits" > "$out/$tree.txt" || die "$out/$tree/bits fails"
done

calls=$(wc -l < "$out/this.txt")
if diff "$out/other.txt" "$out/this.txt" > "$out/difference.txt"; then
  say "$calls calls, no bit differs"
else
  cat "$out/difference.txt"
  say "$calls calls, $(grep -c '^[<>]' "$out/difference.txt") lines differ (< $other, > $root)"
  exit 1
fi
