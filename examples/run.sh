#!/bin/sh
# sh examples/run.sh [NAME...]: builds the examples (all, or those named) and runs them one by one, each
# as soon as it is built, while the next are compiled.
# Installs what is missing on Debian and Ubuntu. Files that they draw are in build/examples/examples.
# The last ones need what pip fetches, once, into build/NAME: vision a photograph (14 MB, in build/picture),
# the others trained models (vit 90 MB, which looks at that photograph, translator 35, transliterate 68,
# minilm 83, in build/model, smollm 93). Where that cannot be they are skipped. search,
# dates and characters are trained here, the last two for less long than they can be.
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

# Examples of several files, which need what is fetched.
fetching="vision vit translator transliterate minilm smollm"
fetches() { case " $fetching " in *" $1 "*) true ;; *) false ;; esac }
# All examples of several files: a folder and a target have their name.
trained="search dates characters"
has_folder() { case " $trained $fetching " in *" $1 "*) true ;; *) false ;; esac }
folder_of() { case $1 in vision) echo picture ;; minilm) echo model ;; *) echo "$1" ;; esac }
# What an example needs fetched: vit looks at the photograph of vision.
parts_of() { case $1 in vit) echo "vit vision" ;; *) echo "$1" ;; esac }
libraries_of() {
  case $1 in
    vision | vit) echo libpng ;;
    characters | dates) echo nlohmann-json ;;
    minilm) echo "nlohmann-json and utf8proc" ;;
    smollm) echo utf8proc ;;
  esac
}

if [ $# -eq 0 ]; then
  # The first picture needs the least to be built.
  set -- alignment
  for source in "$root"/examples/*.cpp "$root"/examples/clients/*.cpp; do
    name=$(basename "$source" .cpp)
    [ "$name" = alignment ] || set -- "$@" "$name"
  done
  # shellcheck disable=SC2086  # several names
  set -- "$@" $trained $fetching
fi
for name in "$@"; do
  has_folder "$name" || [ -f "$(source_of "$name")" ] || die "there is no example $name"
done

need_tools
for name in "$@"; do
  case $name in
    characters | dates) want model ;;
    minilm | smollm) want model pip ;;
    vision | vit) want png pip ;;
    *) if fetches "$name"; then want pip; fi ;;
  esac
done
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

# Those that CMake cannot build, for it does not find their libraries, and the jobs that fetch.
unbuilt=
parts=
for name in "$@"; do
  has_folder "$name" || continue
  if [ -z "$(libraries_of "$name")" ] ||
    grep -q "^softlook_$name:INTERNAL=ON" "$build/CMakeCache.txt"; then
    fetches "$name" || continue
    for part in $(parts_of "$name"); do
      case " $parts " in *" $part "*) continue ;; esac
      parts="$parts $part"
      fetch "$part" "$(folder_of "$part")" < /dev/null &
      behind="$behind $!"
    done
  else
    unbuilt="$unbuilt $name"
  fi
done
is_unbuilt() { case " $unbuilt " in *" $1 "*) true ;; *) false ;; esac }

# compile NAME...: together, as many files at a time as there are cores; one by one if that fails.
compile() {
  targets=
  for name in "$@"; do
    if has_folder "$name"; then targets="$targets $name"; else targets="$targets example_$name"; fi
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
    if is_unbuilt "$name"; then continue; fi
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
  if is_unbuilt "$1"; then
    say "$1 is skipped: CMake does not find $(libraries_of "$1")"
    return 3
  fi
  if fetches "$1"; then
    for part in $(parts_of "$1"); do
      show_fetching "$part" "$(folder_of "$part")"
      fetched=$(status_of "fetch_$part")
      cat "$work/fetch_$part.log"
      if [ "$fetched" -eq 3 ]; then return 3; fi
      [ "$fetched" -eq 0 ] || return 1
      : > "$work/fetch_$part.log"  # said once, where several examples need it
    done
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
    characters)
      sh "$root/examples/check.sh" characters/characters "$root/examples/characters/main.cpp" \
        --steps 1000 &&
        say "the whole training: cd $build/examples && characters/characters \"Alice was \""
      ;;
    dates)
      sh "$root/examples/check.sh" dates/dates "$root/examples/dates/main.cpp" --steps 400 \
        --html dates.svg "Thursday, 3 May 1979" &&
        say "the whole training: cd $build/examples && dates/dates \"3rd of May 1979\""
      ;;
    search) sh "$root/examples/check.sh" search/search "$root/examples/search/main.cpp" ;;
    minilm)
      sh "$root/examples/check.sh" minilm/minilm "$root/examples/minilm/main.cpp" \
        --model "$root/build/model" --html minilm.html \
        "The animal didn't cross the street because it was too tired." &&
        say "its last layer goes on learning: cmake --build $build --target fine_tune," \
          "then cd $build/examples && minilm/fine_tune --model $root/build/model"
      ;;
    translator)
      sh "$root/examples/check.sh" translator/translator "$root/examples/translator/main.cpp" \
        --model "$root/build/translator" "The black cat drinks the cold milk."
      ;;
    transliterate)
      sh "$root/examples/check.sh" transliterate/transliterate \
        "$root/examples/transliterate/main.cpp" --model "$root/build/transliterate"
      ;;
    vision)
      sh "$root/examples/check.sh" vision/vision "$root/examples/vision/main.cpp" \
        "$root/build/picture/chelsea.png"
      ;;
    vit)
      sh "$root/examples/check.sh" vit/vit "$root/examples/vit/main.cpp" \
        --model "$root/build/vit/vit_s_focus.onnx" "$root/build/picture/chelsea.png"
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
