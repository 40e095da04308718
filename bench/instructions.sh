#!/bin/sh
# sh bench/instructions.sh [--print]
# Counts instructions for a useful multiply-add of a vector, with callgrind, and fails where a row has
# more than its limit (--print: shows the rows without judging). Who else uses the core changes a time,
# never a count. Limits are those asked for (tiled), or what g++ 12 reaches and 2 %; README.md says what the rows are.
# Installs valgrind where it is missing (Debian and Ubuntu). CXX chooses the compiler.
set -eu
me=bench/instructions.sh
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/cmake/setup.sh"

judge=yes
case ${1:-} in
  '') ;;
  --print) judge= ;;
  *) die "usage: sh bench/instructions.sh [--print]" ;;
esac
[ "$(uname -m)" = x86_64 ] || die "the counts are of x86-64 kernels"
need_tools
if ! command -v valgrind > /dev/null 2>&1 || ! has_header valgrind/callgrind.h; then
  install_or_die valgrind valgrind
fi

build=$root/build/bench/instructions
rm -rf "$build"
mkdir -p "$build"
compile_alone "$root/bench/instructions.cpp" "$build/instructions.o"
"$CXX" "$build/instructions.o" -o "$build/instructions" -pthread
valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file="$build/callgrind.out" \
  "$build/instructions" > "$build/units" 2> "$build/valgrind.log" ||
  { cat "$build/valgrind.log" >&2; die "callgrind failed"; }

# name, limit. Tabs between them.
cat > "$build/limits" << 'LIMITS'
avx2/tiled d=64	2.050
avx2/tiled d=128	1.900
avx2/causal d=64	2.200
avx2/functor d=64	2.211
avx2/ALiBi d=64	2.206
avx2/a head of 64x64	2.513
avx2/one query, m=4096 d=128	3.099
avx2/backward d=64	2.200
avx2/backward d=128	2.111
avx2/backward, causal d=64	2.386
avx2/packed product 128x384x384	1.837
avx2/packed product 128x1536x384	1.790
avx2/additive, for a pair and feature	10.198
avx2/additive backward, for a pair and feature	28.577
baseline/tiled d=64	4.621
baseline/tiled d=128	4.528
baseline/causal d=64	4.706
baseline/functor d=64	4.792
baseline/ALiBi d=64	4.795
baseline/a head of 64x64	4.947
baseline/one query, m=4096 d=128	6.166
baseline/backward d=64	4.732
baseline/packed product 128x384x384	4.226
baseline/packed product 128x1536x384	4.165
baseline/additive, for a pair and feature	15.650
baseline/additive backward, for a pair and feature	40.649
LIMITS

for dump in "$build"/callgrind.out.*; do
  sed -n 's/^desc: Trigger: Client Request: \(.*\)/name\t\1/p; s/^summary: \([0-9]*\)/count\t\1/p' "$dump"
done | awk -F'\t' -v judge="$judge" '
  FILENAME == ARGV[1] { units[$1] = $2; order[++rows] = $1; next }
  FILENAME == ARGV[2] { limit[$1] = $2; next }
  $1 == "name" { name = $2 }
  $1 == "count" { count[name] = $2 }
  END {
    printf "%-40s %14s %10s %8s\n", "", "instructions", "for each", "limit"
    for (k = 1; k <= rows; ++k) {
      name = order[k]
      if (!(name in count)) { print "not counted: " name; bad = 1; continue }
      each = count[name] / units[name]
      over = judge && (!(name in limit) || each > limit[name])
      printf "%-40s %14d %10.3f %8s%s\n", name, count[name], each, limit[name], over ? "  TOO MANY" : ""
      bad = bad || over
    }
    exit bad
  }' "$build/units" "$build/limits" - || die "FAILED: more instructions than before"
say "PASSED"
