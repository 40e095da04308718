#!/bin/sh
# sh tests/mutation/run.sh [ARGUMENT...]: mutants of masks, scores, transforms, caches, kernels and what runs them, each
# against a program of tests; tests/mutation/README.md says more. Needs g++, Eigen, GoogleTest and python3.
set -eu
me=tests/mutation/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

command -v python3 > /dev/null 2>&1 || install_or_die python3 python3
need_tools gtest
mkdir -p "$root/build/mutation"
exec python3 "$root/tests/mutation/mutate.py" --compiler "$CXX" "$@"
