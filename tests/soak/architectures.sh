#!/bin/sh
# sh tests/soak/architectures.sh [ARCHITECTURE...]: the representative program, and the random cases of tests/mutation
# (every storage, mask and kernel, forward and backward) and the tests of the readers of models' files, for aarch64, powerpc64le, s390x (big-endian) and riscv64, each
# with Debian's cross compiler on an emulated processor (qemu). `aarch64-all` instead builds and runs all numerical
# tests of AArch64. Installs what is missing (Debian and Ubuntu). JOBS says how many compilers run at a time (1).
set -eu
me=tests/soak/architectures.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

[ $# -gt 0 ] || set -- aarch64 powerpc64le s390x riscv64
out=$root/build/soak/architectures
mkdir -p "$out"
export CCACHE_SLOPPINESS=pch_defines,time_macros

# emulator ARCHITECTURE
emulator() {
  case $1 in
    powerpc64le) echo qemu-ppc64le ;;
    *) echo "qemu-$1" ;;
  esac
}

# prepare ARCHITECTURE: its compiler, emulator, and GoogleTest for it.
prepare() {
  compiler=$1-linux-gnu-g++
  command -v "$compiler" > /dev/null 2>&1 || install_or_die "$compiler" "g++-$1-linux-gnu"
  command -v "$(emulator "$1")" > /dev/null 2>&1 || install_or_die "$(emulator "$1")" qemu-user
  [ -d /usr/src/googletest ] || install_or_die "the sources of GoogleTest" googletest
  launcher=
  if command -v ccache > /dev/null 2>&1; then launcher=ccache; fi
}

# compile SOURCE OBJECT FLAG...
compile() {
  source=$1 object=$2
  shift 2
  $launcher "$compiler" -std=c++20 -Wall -Wextra -I "$root/include" -I "$root" -isystem "$eigen" \
    "-DSOFTLOOK_SOAK_CASES=\"$root/tests/soak/cases\"" "$@" -c "$source" -o "$object"
}

# The readers of models' files, whose numbers are little-endian; nlohmann's JSON has no part that is compiled.
try_readers() {
  objects=
  for source in examples/support/safetensors examples/smollm/gguf examples/translator/marian_file \
    examples/translator/sentencepiece examples/vit/onnx_file tests/training/safetensors_test tests/smollm/gguf_test \
    tests/translator/marian_file_test tests/translator/sentencepiece_test tests/vit/onnx_file_test; do
    object=$out/$1-$(basename $source).o
    compile "$root/$source.cpp" "$object" -O1 -idirafter /usr/include "-DSOFTLOOK_ROOT=\"$root\"" \
      -I "$root/$(dirname $source)" || return 1
    objects="$objects $object"
  done
  # shellcheck disable=SC2086  # several objects
  "$compiler" -static $objects "$out/$1.gtest-all.o" "$out/$1.gtest_main.o" -o "$out/$1.readers" -pthread &&
    "$(emulator "$1")" "$out/$1.readers" --gtest_brief=1
}

# try ARCHITECTURE: all programs. At -O1, which is the cheapest that is worth running under emulation.
try() {
  prepare "$1"
  eigen=${EIGEN:-/usr/include/eigen3}
  compile "$root/tests/representative/representative.cpp" "$out/$1.o" -O1 &&
    "$compiler" -static "$out/$1.o" -o "$out/$1" -pthread && "$(emulator "$1")" "$out/$1" || return 1
  for source in tests/mutation/calls tests/mutation/kernels; do
    compile "$root/$source.cpp" "$out/$1.$(basename $source).o" -O1 || return 1
  done
  for source in gtest-all gtest_main; do
    compile "/usr/src/googletest/googletest/src/$source.cc" "$out/$1.$source.o" -O1 -w \
      -I /usr/src/googletest/googletest -I /usr/src/googletest/googletest/include || return 1
  done
  "$compiler" -static "$out/$1".*.o -o "$out/$1.calls" -pthread &&
    "$(emulator "$1")" "$out/$1.calls" --gtest_brief=1 && try_readers "$1"
}

# All numerical tests, cross-compiled; the tests of compilers and packages are left out.
try_all() {
  prepare aarch64
  build=$out/aarch64-all
  cmake -S /usr/src/googletest -B "$build/gtest" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DBUILD_GMOCK=OFF \
    -DCMAKE_INSTALL_PREFIX="$build/prefix" > "$build.gtest.log" 2>&1 &&
    cmake --build "$build/gtest" --target install >> "$build.gtest.log" 2>&1 || { tail "$build.gtest.log"; return 1; }
  cmake -S "$root" -B "$build/tests" -G Ninja -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ ${launcher:+-DCMAKE_CXX_COMPILER_LAUNCHER=$launcher} \
    -DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64 -DCMAKE_EXE_LINKER_FLAGS=-static -DCMAKE_BUILD_TYPE= \
    -DCMAKE_FIND_ROOT_PATH="$build/prefix;/usr/aarch64-linux-gnu" -DCMAKE_CXX_FLAGS=-O1 \
    -DCMAKE_PREFIX_PATH="$build/prefix" -DEigen3_DIR="${EIGEN_CMAKE:-/usr/share/eigen3/cmake}" \
    -DSOFTLOOK_BUILD_EXAMPLES=OFF -DSOFTLOOK_BUILD_BENCHMARKS=OFF -DSOFTLOOK_BUILD_COMPILED=ON \
    > "$build.log" 2>&1 || { tail "$build.log"; return 1; }
  cmake --build "$build/tests" --parallel "${JOBS:-1}" --target softlook_gtests &&
    ctest --test-dir "$build/tests" --output-on-failure --timeout 7200 -L '^(unit|property|gradient)$'
}

failed=
for architecture in "$@"; do
  begun=$(date +%s)
  if [ "$architecture" = aarch64-all ]; then run=try_all; else run="try $architecture"; fi
  if $run; then
    say "$architecture: passed in $(($(date +%s) - begun)) s"
  else
    say "$architecture: FAILED"
    failed="$failed $architecture"
  fi
done
[ -z "$failed" ] || die "FAILED:$failed"
say "PASSED: $*"
