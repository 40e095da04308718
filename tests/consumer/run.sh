#!/bin/sh
# run.sh WAY SOURCE WORK: builds and runs the consumer program in one way; the installed tree is
# expected in WORK/first_prefix, where the way `install` puts it. Environment: CXX, CMAKE,
# CMAKE_GENERATOR, EIGEN_INCLUDE, EIGEN_DIR, and COMPILED_BUILD, a build that has softlook::compiled.
# 77 means skipped.
set -eu
way=$1 source=$2 work=$3
here=$source/tests/consumer
build=$work/$way
rm -rf "$build"
mkdir -p "$build"

# A package must work wherever it is moved to, so that it holds no path of the machine that built it.
moved_prefix() {
  cp -R "$work/first_prefix" "$build/prefix"
  if grep -rn "$work" "$build/prefix"; then
    echo "the installed tree names the folder it was installed to"
    exit 1
  fi
}

cmake_project() {
  "$CMAKE" -S "$here/$way" -B "$build/build" "-DEigen3_DIR=$EIGEN_DIR" "$@"
  "$CMAKE" --build "$build/build"
  "$build/build/consumer"
}

# softlook_build FOLDER COMPILED: nothing but what is installed.
softlook_build() {
  "$CMAKE" -S "$source" -B "$1" "-DEigen3_DIR=$EIGEN_DIR" "-DSOFTLOOK_BUILD_COMPILED=$2" \
    -DSOFTLOOK_BUILD_TESTS=OFF -DSOFTLOOK_BUILD_EXAMPLES=OFF -DSOFTLOOK_BUILD_BENCHMARKS=OFF
}

case $way in
  install)
    rm -rf "$work/first_prefix"
    softlook_build "$build/build" OFF
    "$CMAKE" --install "$build/build" --prefix "$work/first_prefix"
    ;;
  find_package)
    moved_prefix
    cmake_project "-DCMAKE_PREFIX_PATH=$build/prefix"
    ;;
  add_subdirectory | fetch_content)
    cmake_project "-DSOFTLOOK_SOURCE=$source"
    ;;
  compiled)
    library=${COMPILED_BUILD:-}
    if [ -z "$library" ]; then
      library=$build/library
      softlook_build "$library" ON
      "$CMAKE" --build "$library"
    fi
    "$CMAKE" --install "$library" --prefix "$build/first_prefix"
    mv "$build/first_prefix" "$build/prefix"
    if grep -rn "$work" "$build/prefix"; then
      echo "the installed tree names the folder it was installed to"
      exit 1
    fi
    "$CMAKE" -S "$here/compiled" -B "$build/build" "-DEigen3_DIR=$EIGEN_DIR" \
      "-DCMAKE_PREFIX_PATH=$build/prefix"
    "$CMAKE" --build "$build/build"
    for program in headers compiled other_flags; do
      "$build/build/$program" > "$build/$program.txt"
      cmp "$build/headers.txt" "$build/$program.txt"
    done
    # No kernel in the program's own object file, and some in the one that has no library.
    if command -v nm > /dev/null; then
      object() { find "$build/build" -path "*$1.dir*" -name 'bits.cpp.o*'; }
      if nm "$(object compiled)" | grep stamped; then
        echo "kernels were compiled although softlook::compiled has them"
        exit 1
      fi
      nm "$(object headers)" | grep -q stamped
    fi
    cat "$build/compiled.txt"
    ;;
  pkg_config)
    if ! command -v pkg-config > /dev/null; then
      echo "pkg-config is not installed"
      exit 77
    fi
    moved_prefix
    PKG_CONFIG_PATH=$(dirname "$(find "$build/prefix" -name softlook.pc)")
    export PKG_CONFIG_PATH
    flags=$(pkg-config --cflags --libs softlook)
    echo "pkg-config: version $(pkg-config --modversion softlook), flags $flags"
    # shellcheck disable=SC2086  # the flags are several words
    "$CXX" -std=c++20 "$here/main.cpp" -o "$build/consumer" $flags
    "$build/consumer"
    ;;
  plain)
    # No -pthread: the headers alone have to be enough.
    "$CXX" -std=c++20 -I "$source/include" -isystem "$EIGEN_INCLUDE" "$here/main.cpp" \
      -o "$build/consumer"
    "$build/consumer"
    ;;
  *)
    echo "unknown way $way"
    exit 2
    ;;
esac
