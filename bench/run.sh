#!/bin/sh
# sh bench/run.sh [--filter RE] [--json FILE] [--repetitions N] [--compiled]
# Builds the benchmarks, runs the rows whose names match RE (all without it), prints a table, and draws
# speed and memory over n. Installs what is missing on Debian and Ubuntu. CXX chooses the compiler; build
# and results are in build/bench. README.md says what the columns mean. --compiled takes the kernels from
# softlook::compiled, which is built faster: to see that all is well, not to measure.
set -eu
me=bench/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
started=$(date +%s)
. "$root/cmake/setup.sh"

usage="usage: sh bench/run.sh [--filter RE] [--json FILE] [--repetitions N] [--compiled]"
filter=
json=
repetitions=5
compiled=OFF
while [ $# -gt 0 ]; do
  if [ "$1" = --compiled ]; then
    compiled=ON
    shift
    continue
  fi
  [ $# -ge 2 ] || die "$usage"
  case $1 in
    --filter) filter=$2 ;;
    --json) json=$2 ;;
    --repetitions) repetitions=$2 ;;
    *) die "$usage" ;;
  esac
  shift 2
done
case $repetitions in '' | *[!0-9]* | 0) die "--repetitions: $repetitions is not a count" ;; esac
if [ -n "$json" ]; then
  : >> "$json" || die "--json: $json cannot be written"
fi

need_tools benchmark
# The table and the drawings are made by a program that reads JSON.
if [ -z "${CMAKE_PREFIX_PATH:-}" ] && ! has_header nlohmann/json.hpp; then
  install_or_die nlohmann-json nlohmann-json3-dev
fi

# A user's plain -O2: the point is that softlook needs no -march. The naive path has its own flags. With
# softlook::compiled flags are those of examples/run.sh, whose objects ccache has.
flags='-O2 -DNDEBUG'
build=$root/build/bench
if [ "$compiled" = ON ]; then
  flags='-O3 -DNDEBUG'
  build=$root/build/bench/compiled
fi
configure "$build" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=$flags" \
  -DSOFTLOOK_BUILD_TESTS=OFF -DSOFTLOOK_BUILD_EXAMPLES=OFF -DSOFTLOOK_BUILD_BENCHMARKS=ON \
  "-DSOFTLOOK_BENCH_COMPILED=$compiled"
"$cmake" --build "$build" --parallel "$jobs" --target softlook_benchmarks ||
  die "FAILED: the benchmarks do not build"

programs="forward_dot small multi_head layouts layers additive few_queries threads double"
programs="$programs instruction_sets flags scratch score_functor"
for source in "$root"/bench/*_bench.cpp; do
  name=$(basename "$source" _bench.cpp)
  case " $programs " in *" $name "*) ;; *) programs="$programs $name" ;; esac
done

total=0
wanted=
for name in $programs; do
  rows=$("$build/bench/${name}_bench" "--benchmark_filter=$filter" --benchmark_list_tests=true) ||
    die "--filter: $filter is no regular expression"
  if [ -n "$rows" ]; then
    wanted="$wanted $name"
    total=$((total + $(printf '%s\n' "$rows" | wc -l)))
  fi
done
[ "$total" -gt 0 ] || die "no row matches --filter '$filter'"

commit=$(git -C "$root" rev-parse --short HEAD 2> /dev/null || echo unknown)
if [ -n "$(git -C "$root" status --porcelain --untracked-files=no 2> /dev/null)" ]; then
  commit=$commit-modified
fi
say "$total rows, $repetitions repetitions each; everything takes twenty minutes or so"
if [ -r /proc/loadavg ] && awk '{ exit !($1 > 0.7) }' /proc/loadavg; then
  say "note: this machine is busy (load $(cut -d ' ' -f 1 /proc/loadavg)); the figures will show it"
fi

results=$build/results
rm -rf "$results" "$build/speed.svg" "$build/memory.svg"
mkdir -p "$results"
status=0
for name in $wanted; do
  printf '\n%s\n' "$(sed -n '1s|^// ||p' "$root/bench/${name}_bench.cpp")"
  ended=0
  "$build/bench/${name}_bench" "--benchmark_filter=$filter" "--benchmark_repetitions=$repetitions" \
    "--benchmark_context=commit=$commit" "--benchmark_out=$results/$name.json" || ended=$?
  # 1 is a row that failed its check, which the table shows too; anything else is a crash.
  if [ "$ended" -gt 1 ]; then die "FAILED: ${name}_bench ended with status $ended"; fi
  if [ "$ended" -ne 0 ]; then status=1; fi
done

echo
ended=0
files=
for name in $wanted; do files="$files $name.json"; done
# shellcheck disable=SC2086  # several files
(cd "$results" && "$build/bench/bench_report" --json ../results.json --speed ../speed.svg \
  --memory ../memory.svg $files > ../table.txt) || ended=$?
cat "$build/table.txt"
if [ "$ended" -gt 1 ]; then die "FAILED: bench_report ended with status $ended"; fi
if [ -n "$json" ]; then cp "$build/results.json" "$json"; fi

echo
say "table:   $build/table.txt"
say "JSON:    ${json:-$build/results.json}"
for drawing in speed memory; do
  if [ -f "$build/$drawing.svg" ]; then say "drawing: $build/$drawing.svg"; fi
done
if [ "$status" -ne 0 ]; then die "FAILED: a row disagrees with the oracle or with the naive path"; fi
say "done in $(($(date +%s) - started)) s"
