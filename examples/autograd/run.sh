#!/bin/sh
# sh examples/autograd/run.sh [libtorch] [stan]
# Builds and runs attention as a function of other libraries' automatic differentiation. LibTorch comes
# with pip's torch (that of bench/peers/run.sh, or one of its own in build/autograd), Stan Math with a
# package of Debian and Ubuntu that is unpacked there and not installed. CXX chooses the compiler.
set -eu
me=examples/autograd/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"
need_tools

here=$root/examples/autograd
build=$root/build/autograd
mkdir -p "$build"

# build_and_check NAME FLAG...: as a user of the headers does.
build_and_check() {
  name=$1
  shift
  say "compiling $name"
  "$CXX" -std=c++20 -O2 "$here/$name.cpp" -I "$root/include" -isystem /usr/include/eigen3 \
    -isystem /usr/local/include/eigen3 "$@" -pthread -o "$build/$name" ||
    die "FAILED: $name does not build"
  sh "$root/examples/check.sh" "$build/$name" "$here/$name.cpp" || die "FAILED: $name"
}

folder_of_torch() {
  "$1" -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2> /dev/null
}

libtorch() {
  torch=
  for python in "$root/build/peers/venv/bin/python" "$build/venv/bin/python"; do
    if [ -x "$python" ] && torch=$(folder_of_torch "$python"); then break; fi
  done
  if [ -z "$torch" ]; then
    say "fetching torch (some 200 MB)"
    python3 -m venv "$build/venv" || die "a virtual environment is needed; install python3-venv"
    "$build/venv/bin/python" -m pip install --quiet torch==2.13.0 || die "pip cannot install torch"
    torch=$(folder_of_torch "$build/venv/bin/python") || die "torch does not start"
  fi
  build_and_check libtorch -isystem "$torch/include" \
    -isystem "$torch/include/torch/csrc/api/include" -L "$torch/lib" -ltorch -ltorch_cpu -lc10 \
    "-Wl,-rpath,$torch/lib"
}

# Without R, for which the package is made: only its headers are wanted.
stan() {
  files=$build/packages
  if ! [ -e "$files/done" ]; then
    command -v apt-get > /dev/null && command -v dpkg > /dev/null ||
      die "Stan Math's headers are taken from a package of Debian or Ubuntu, and there is no apt here"
    mkdir -p "$files"
    boost=$(apt-cache depends libboost-dev | sed -n 's/^ *Depends: //p' | head -n 1)
    (cd "$files" && apt-get download r-cran-stanheaders libtbb-dev libtbb12 "$boost" > /dev/null 2>&1) ||
      die "apt-get cannot download r-cran-stanheaders, libtbb-dev, libtbb12, $boost (apt-get update?)"
    for package in "$files"/*.deb; do dpkg -x "$package" "$files"; done
    touch "$files/done"
  fi
  libraries=$(dirname "$(find "$files/usr/lib" -name 'libtbb.so' | head -n 1)")
  build_and_check stan -w -isystem "$files/usr/lib/R/site-library/StanHeaders/include" \
    -isystem "$files/usr/include" -L "$libraries" -ltbb "-Wl,-rpath,$libraries"
}

[ $# -gt 0 ] || set -- libtorch stan
for name in "$@"; do
  case $name in
    libtorch | stan) "$name" ;;
    *) die "usage: sh examples/autograd/run.sh [libtorch] [stan]" ;;
  esac
done
say "PASSED: $*"
