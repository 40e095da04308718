#!/bin/sh
# sh tests/fuzz/run.sh [SECONDS [TARGET...]]: builds the fuzz targets (all, or those named) with clang
# and its libFuzzer, ASan and UBSan, and runs each for SECONDS (30), as many at a time as there are
# cores. Fails when one crashes, hangs or takes too much memory; the input is then in build/fuzz.
# SEED chooses the numbers that the fuzzer draws, anew each time without it. KEEP=1 adds to tests/fuzz/corpus what it
# found that reaches code which nothing there reaches (libFuzzer's -merge=1).
set -eu
me=tests/fuzz/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

seconds=${1:-30}
case $seconds in '' | *[!0-9]*) die "usage: sh tests/fuzz/run.sh [SECONDS [TARGET...]]" ;; esac
if [ $# -gt 0 ]; then shift; fi
if [ $# -eq 0 ]; then
  set -- safetensors wordpiece gguf tokenizer marian_file sentencepiece onnx_file case_file attention
fi

# A clang whose runtime has libFuzzer; Debian keeps it in a package of its own.
CXX=
for clang in clang++-19 clang++ clang++-21 clang++-20 clang++-18 clang++-17 clang++-16; do
  runtime=$("$clang" -print-file-name= > /dev/null 2>&1 && "$clang" -print-runtime-dir) || continue
  if ls "$runtime"/libclang_rt.fuzzer-*.a "$runtime"/libclang_rt.fuzzer.a > /dev/null 2>&1 ||
    ls "${runtime%/*}"/linux/libclang_rt.fuzzer-*.a > /dev/null 2>&1; then
    CXX=$clang
    break
  fi
done
[ -n "$CXX" ] || die "needs clang >= 16 with libFuzzer (Debian: clang-19 libclang-rt-19-dev)"
want model

out=$root/build/fuzz
mkdir -p "$out"
compile=$CXX
if command -v ccache > /dev/null 2>&1; then compile="ccache $CXX"; fi
flags="-std=c++20 -O1 -g1 -fno-omit-frame-pointer -fsanitize=address,undefined
  -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS"

# build TARGET: the target, what it tests, and nothing else.
build() {
  library=
  case $1 in
    attention) tested=tests/fuzz/attention_kernels.cpp ;;
    case_file) tested=tests/conformance/case_file.cpp ;;
    marian_file | sentencepiece) tested=examples/translator/$1.cpp ;;
    wordpiece) tested=examples/minilm/wordpiece.cpp library=-lutf8proc ;;
    onnx_file) tested=examples/vit/onnx_file.cpp ;;
    gguf) tested=examples/smollm/gguf.cpp ;;
    tokenizer) tested="examples/smollm/tokenizer.cpp examples/smollm/gguf.cpp" library=-lutf8proc ;;
    safetensors) tested=examples/support/safetensors.cpp ;;
  esac
  # shellcheck disable=SC2086  # several flags
  for source in tests/fuzz/$1_fuzz.cpp $tested; do
    (cd "$root" && $compile $flags -fsanitize=fuzzer-no-link -Wall -Wextra -Werror -I . -I include \
      -isystem /usr/include/eigen3 -c "$source" -o "$out/$1.$(basename "$source" .cpp).o") || return 1
  done
  # shellcheck disable=SC2086
  $CXX $flags -fsanitize=fuzzer "$out/$1".*.o $library -o "$out/$1"
}

# fuzz TARGET: what it finds new goes to build/fuzz/TARGET.corpus, the seeds stay as they are.
fuzz() {
  mkdir -p "$out/$1.corpus"
  words=
  if [ -f "$root/tests/fuzz/$1.dict" ]; then words=-dict=$root/tests/fuzz/$1.dict; fi
  "$out/$1" "$out/$1.corpus" "$root/tests/fuzz/corpus/$1" -max_total_time="$seconds" \
    -seed="${SEED:-0}" \
    ${words:+"$words"} -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
    -artifact_prefix="$out/$1." -print_final_stats=1 > "$out/$1.log" 2>&1
}

keep() {
  "$out/$1" -merge=1 -max_len=4096 -timeout=10 -rss_limit_mb=2048 "$root/tests/fuzz/corpus/$1" "$out/$1.corpus" \
    > "$out/$1.merge.log" 2>&1
}

# run TARGET: leaves its status in a file, because `wait` gives that of one job only.
run() {
  status=0
  build "$1" > "$out/$1.log" 2>&1 && fuzz "$1" || status=$?
  if [ "$status" -eq 0 ] && [ -n "${KEEP:-}" ]; then keep "$1" || status=$?; fi
  echo "$status" > "$out/$1.status"
}

for target in "$@"; do
  [ -f "$root/tests/fuzz/${target}_fuzz.cpp" ] || die "there is no fuzz target $target"
done
jobs=${JOBS:-$(nproc 2> /dev/null || echo 2)}
running=0
for target in "$@"; do
  run "$target" &
  running=$((running + 1))
  if [ "$running" -ge "$jobs" ]; then
    wait
    running=0
  fi
done
wait

failed=
for target in "$@"; do
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
  if [ "$(cat "$out/$target.status")" -eq 0 ]; then
    say "$target: ${runs:-0} inputs in $seconds s, nothing found"
  else
    tail -n 40 "$out/$target.log"
    failed="$failed $target"
  fi
done
[ -z "$failed" ] || die "FAILED:$failed; the inputs are in $out"
say "PASSED: $*"
