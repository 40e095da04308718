# Sourced by tests/run.sh, examples/run.sh and bench/run.sh (POSIX sh): finds or installs what a build
# needs. Nothing that is already there is installed again. Sets: CXX, cmake, jobs, cmake_args.
# The caller sets `me` (its name in messages) and `root` (the repository).

say() { printf '%s: %s\n' "$me" "$*"; }
die() {
  say "$*" >&2
  exit 1
}

# version_at_least HAVE WANT: compares dotted numbers.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)" = "$2" ]
}

# The least versions: gcc 12, clang 16.
good_compiler() {
  command -v "$1" > /dev/null 2>&1 || return 1
  macros=$("$1" -x c++ -dM -E /dev/null 2> /dev/null) || return 1
  clang=$(printf '%s\n' "$macros" | sed -n 's/^#define __clang_major__ //p')
  if [ -n "$clang" ]; then [ "$clang" -ge 16 ]; return; fi
  gcc=$(printf '%s\n' "$macros" | sed -n 's/^#define __GNUC__ //p')
  [ "${gcc:-0}" -ge 12 ]
}

find_compiler() {
  if [ -n "${CXX:-}" ]; then
    good_compiler "$CXX" || die "CXX=$CXX is not a working gcc >= 12 or clang >= 16"
    return 0
  fi
  for CXX in c++ g++ g++-15 g++-14 g++-13 g++-12 clang++ clang++-21 clang++-20 clang++-19 \
    clang++-18 clang++-17 clang++-16; do
    if good_compiler "$CXX"; then return 0; fi
  done
  CXX=
  return 1
}

find_cmake() {
  for cmake in cmake /usr/bin/cmake; do
    have=$("$cmake" --version 2> /dev/null | sed -n 's/^cmake version \([0-9.]*\).*/\1/p') || have=
    if [ -n "$have" ] && version_at_least "$have" 3.21; then return 0; fi
  done
  cmake=
  return 1
}

find_make() { command -v ninja > /dev/null 2>&1 || command -v make > /dev/null 2>&1; }

# has_header NAME: can the compiler, or CMake through CMAKE_PREFIX_PATH, see it?
has_header() {
  printf '#include <%s>\n' "$1" |
    "$CXX" -std=c++20 -E -x c++ -isystem /usr/include/eigen3 -isystem /usr/local/include/eigen3 \
      -o /dev/null - 2> /dev/null
}

# Puts into `missing` the Debian packages for what is not there, given "gtest" or "benchmark".
list_missing() {
  missing=
  find_compiler || missing="$missing g++"
  find_cmake || missing="$missing cmake"
  find_make || missing="$missing ninja-build"
  # A user's own prefix is CMake's to search; its message then says what is not there.
  if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then return 0; fi
  if [ -z "$CXX" ]; then
    missing="$missing libeigen3-dev"
    for what in "$@"; do
      case $what in
        gtest) missing="$missing libgtest-dev" ;;
        benchmark) missing="$missing libbenchmark-dev" ;;
      esac
    done
    return 0
  fi
  has_header Eigen/Core || missing="$missing libeigen3-dev"
  for what in "$@"; do
    case $what in
      gtest) has_header gtest/gtest.h || missing="$missing libgtest-dev" ;;
      benchmark) has_header benchmark/benchmark.h || missing="$missing libbenchmark-dev" ;;
    esac
  done
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# apt_install PACKAGE...: quiet unless it fails.
apt_install() {
  say "installing $*"
  log=$(mktemp)
  if as_root env DEBIAN_FRONTEND=noninteractive apt-get update > "$log" 2>&1 < /dev/null &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" \
      >> "$log" 2>&1 < /dev/null; then
    rm -f "$log"
    return 0
  fi
  tail -n 15 "$log" >&2
  rm -f "$log"
  return 1
}

# install_or_die WHAT PACKAGE: of what one script alone needs.
install_or_die() {
  hint="install $1 (Debian and Ubuntu: $2) and run this again"
  command -v apt-get > /dev/null 2>&1 || die "$1 is missing; $hint"
  if [ "$(id -u)" -ne 0 ] && ! sudo -n true > /dev/null 2>&1; then
    die "$1 is missing and installing it needs root; $hint"
  fi
  apt_install "$2" || die "apt-get could not install $2; $hint"
}

# compile_alone SOURCE OBJECT: as a user of the headers does, plain -O2, no -march and no CMake.
compile_alone() {
  launcher=
  if command -v ccache > /dev/null 2>&1; then launcher=ccache; fi
  eigen="-isystem /usr/include/eigen3 -isystem /usr/local/include/eigen3"
  if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then
    eigen="-isystem ${CMAKE_PREFIX_PATH%%[:;]*}/include/eigen3 $eigen"
  fi
  # shellcheck disable=SC2086  # several arguments
  $launcher "$CXX" -std=c++20 -O2 -Wall -Wextra -Wconversion -Wshadow -pthread \
    -I "$root" -I "$root/bench" -I "$root/include" $eigen -c "$1" -o "$2" || die "FAILED: $1 does not build"
}

# need_tools [gtest] [benchmark]: afterwards the build can be configured, or the script has ended.
need_tools() {
  list_missing "$@"
  if [ -n "$missing" ]; then
    if ! command -v apt-get > /dev/null 2>&1; then
      say "missing (by their Debian names):$missing" >&2
      die "this system has no apt: install gcc >= 12 or clang >= 16, CMake >= 3.21, Ninja or Make," \
        "Eigen >= 3.4${1:+ and $*} with its package manager, set CMAKE_PREFIX_PATH to where they" \
        "are if that is not a system folder, and run this again"
    fi
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true > /dev/null 2>&1; then
      die "missing:$missing; installing them needs root. Run: sudo apt-get install$missing"
    fi
    # shellcheck disable=SC2086  # several packages
    apt_install $missing || die "apt-get could not install:$missing"
    wanted=$missing
    list_missing "$@"
    if [ -n "$missing" ]; then
      die "installed$wanted, but this system's versions are too old or incomplete:$missing" \
        "(needed: gcc >= 12 or clang >= 16, CMake >= 3.21, Eigen >= 3.4)"
    fi
  fi
  jobs=$(nproc 2> /dev/null || getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)
  cmake_args="-DCMAKE_CXX_COMPILER=$CXX"
  if command -v ccache > /dev/null 2>&1; then
    cmake_args="$cmake_args -DCMAKE_CXX_COMPILER_LAUNCHER=ccache"
    # Or nothing that uses precompiled headers is taken from the cache; cmake/Precompiled.cmake.
    CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:+$CCACHE_SLOPPINESS,}pch_defines,time_macros
    export CCACHE_SLOPPINESS
  fi
  say "$("$CXX" --version | head -n 1), cmake $have, $jobs jobs"
}

# want WHAT...: what only a part of the project needs, "model" (to read its files), "png" (to read and
# draw pictures) or "pip" (to fetch both). Installed where that is possible without asking; otherwise
# that part is left out.
want() {
  missing=
  for what in "$@"; do
    case $what in
      model)
        if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then continue; fi
        has_header nlohmann/json.hpp || missing="$missing nlohmann-json3-dev"
        has_header utf8proc.h || missing="$missing libutf8proc-dev"
        ;;
      png)
        if [ -n "${CMAKE_PREFIX_PATH:-}" ]; then continue; fi
        has_header png.h || missing="$missing libpng-dev"
        ;;
      pip) python3 -m pip --version > /dev/null 2>&1 || missing="$missing python3-pip" ;;
    esac
  done
  if [ -z "$missing" ]; then return 0; fi
  if command -v apt-get > /dev/null 2>&1 &&
    { [ "$(id -u)" -eq 0 ] || sudo -n true > /dev/null 2>&1; }; then
    # shellcheck disable=SC2086  # several packages
    if apt_install $missing; then return 0; fi
  fi
  say "not installed, and what needs it is left out:$missing"
}

# configure BUILD ARGUMENT...: a build folder of another source tree or compiler is started anew.
configure() {
  build=$1
  shift
  mkdir -p "$build"
  made_of="$root $CXX"
  if [ "$(cat "$build/made_of" 2> /dev/null)" != "$made_of" ]; then
    rm -rf "$build/CMakeCache.txt" "$build/CMakeFiles"
    printf '%s\n' "$made_of" > "$build/made_of"
  fi
  if [ ! -f "$build/CMakeCache.txt" ] && command -v ninja > /dev/null 2>&1; then
    set -- -G Ninja "$@"
  fi
  # shellcheck disable=SC2086  # several arguments
  if ! "$cmake" -S "$root" -B "$build" $cmake_args "$@" > "$build/configure.log" 2>&1; then
    cat "$build/configure.log" >&2
    die "CMake could not configure the build; what it misses stands above"
  fi
}
