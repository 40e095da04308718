#!/bin/sh
# sh tests/soak/valgrind.sh: the representative program under valgrind's memcheck, which knows nothing of AVX-512: built
# with -O1, it takes the AVX2 and the baseline kernels. Fails on any error and on memory that is not given back.
set -eu
me=tests/soak/valgrind.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

need_tools
command -v valgrind > /dev/null 2>&1 || install_or_die valgrind valgrind
mkdir -p "$root/build/soak"
program=$root/build/soak/valgrind
"$CXX" -std=c++20 -O1 -g1 -I "$root/include" -isystem /usr/include/eigen3 \
  "$root/tests/representative/representative.cpp" -o "$program" -pthread || die "FAILED: it does not build"
valgrind --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect,possible \
  --errors-for-leak-kinds=definite,indirect,possible "$program" || die "FAILED"
say "PASSED"
