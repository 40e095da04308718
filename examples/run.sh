#!/bin/sh
# sh examples/run.sh [NAME...]: builds the examples (all, or those named) and runs them one by one.
# Installs what is missing on Debian and Ubuntu. Files that they draw are in build/examples/examples.
set -eu
me=examples/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/cmake/setup.sh"

if [ $# -eq 0 ]; then
  for source in "$root"/examples/*.cpp; do set -- "$@" "$(basename "$source" .cpp)"; done
fi
for name in "$@"; do
  [ -f "$root/examples/$name.cpp" ] || die "there is no example $name"
done

need_tools
build=$root/build/examples
configure "$build" -DCMAKE_BUILD_TYPE=Release -DSOFTLOOK_BUILD_TESTS=OFF \
  -DSOFTLOOK_BUILD_EXAMPLES=ON -DSOFTLOOK_BUILD_BENCHMARKS=OFF
targets=
for name in "$@"; do targets="$targets example_$name"; done
# shellcheck disable=SC2086  # several targets
"$cmake" --build "$build" --parallel "$jobs" --target $targets || die "FAILED: the examples do not build"

passed=0
failed=
cd "$build/examples"
for name in "$@"; do
  printf '\n=== %s ===\n' "$name"
  if sh "$root/examples/check.sh" "./$name" "$root/examples/$name.cpp"; then
    passed=$((passed + 1))
  else
    failed="$failed $name"
  fi
done

echo
for drawing in *.svg; do
  if [ -f "$drawing" ]; then say "drawn: $build/examples/$drawing"; fi
done
if [ -n "$failed" ]; then
  say "FAILED:$failed ($passed of $# passed)"
  exit 1
fi
say "PASSED: $passed of $# examples"
