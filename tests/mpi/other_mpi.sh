#!/bin/sh
# sh tests/mpi/other_mpi.sh NAME: builds the tests of mpi/ with another MPI than the one that CMake finds
# first, and runs them. NAME is that of its compiler wrapper and launcher, as Debian has them:
# "mpich" for mpicxx.mpich and mpiexec.mpich, or "openmpi".
set -eu
me=tests/mpi/other_mpi.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -eq 1 ] || { echo "usage: sh $me mpich | openmpi"; exit 2; }
for tool in "mpicxx.$1" "mpiexec.$1"; do
  command -v "$tool" > /dev/null || { echo "$me: $tool is missing (Debian: lib$1-dev)"; exit 77; }
done
. "$root/cmake/setup.sh"
need_tools gtest
build=$root/build/mpi_$1
configure "$build" -DCMAKE_BUILD_TYPE= -DSOFTLOOK_BUILD_TESTS=ON -DSOFTLOOK_BUILD_EXAMPLES=OFF \
  -DSOFTLOOK_BUILD_BENCHMARKS=OFF -DSOFTLOOK_BUILD_COMPILED=ON -DSOFTLOOK_MPI=ON \
  "-DMPI_CXX_COMPILER=$(command -v "mpicxx.$1")" "-DMPIEXEC_EXECUTABLE=$(command -v "mpiexec.$1")"
"$cmake" --build "$build" --parallel "$jobs" --target test_mpi test_mpi_gradients mpi_failures
cd "$build" && exec ctest -L '^mpi$' --output-on-failure
