#!/bin/sh
# run.sh WAY SOURCE WORK: builds and runs the consumer program in one way; the installed tree is
# expected in WORK/first_prefix, where the way `install` puts it, and the bits of results in
# WORK/compiled/one_header.txt, from `compiled`. Environment: CXX, CMAKE, CMAKE_GENERATOR, EIGEN_INCLUDE,
# EIGEN_DIR, COMPILED_BUILD, a build that has softlook::compiled, and VCPKG_ROOT. 77 means skipped.
set -eu
way=$1 source=$2 work=$3
here=$source/tests/consumer
build=$work/$way
rm -rf "$build"
mkdir -p "$build"

need() {
  if ! command -v "$1" > /dev/null; then
    echo "$1 is not installed"
    exit 77
  fi
}

# names_no_folder TREE FOLDER: a package must work wherever it is moved to, so it holds no path of the
# machine that built it.
names_no_folder() {
  if grep -rn "$2" "$1"; then
    echo "the installed tree names the folder it was made in"
    exit 1
  fi
}

moved_prefix() {
  cp -R "$work/first_prefix" "$build/prefix"
  names_no_folder "$build/prefix" "$work"
}

# pkg_config_in TREE MODULE: the flags of a module that is installed there.
pkg_config_in() {
  PKG_CONFIG_PATH=$(find "$1" -name '*.pc' -exec dirname {} + | sort -u | tr '\n' ':')
  export PKG_CONFIG_PATH
  flags=$(pkg-config --cflags --libs "$2")
  echo "pkg-config: version $(pkg-config --modversion "$2"), flags $flags"
}

# same_bits PROGRAM
same_bits() {
  "$1" > "$1.txt"
  cmp "$work/compiled/one_header.txt" "$1.txt"
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
    names_no_folder "$build/prefix" "$work"
    # One file of all headers, to which the names of doors lead; without Python the headers themselves.
    mkdir -p "$build/one/softlook"
    if command -v python3 > /dev/null; then
      python3 "$source/cmake/packaging/amalgamate.py" --output "$build/one/softlook/softlook.hpp"
      for door in attention linear; do
        echo '#include "softlook.hpp"' > "$build/one/softlook/$door.hpp"
      done
    fi
    "$CMAKE" -S "$here/compiled" -B "$build/build" "-DEigen3_DIR=$EIGEN_DIR" \
      "-DCMAKE_PREFIX_PATH=$build/prefix" "-DONE_HEADER=$build/one"
    "$CMAKE" --build "$build/build"
    "$build/build/one_header" > "$build/one_header.txt"
    for program in compiled other_flags; do
      same_bits "$build/build/$program"
    done
    # No kernel in the program's own object file, and some in the one that has no library.
    if command -v nm > /dev/null; then
      object() { find "$build/build" -path "*$1.dir*" -name 'bits.cpp.o*'; }
      if nm "$(object compiled)" | grep stamped; then
        echo "kernels were compiled although softlook::compiled has them"
        exit 1
      fi
      nm "$(object one_header)" | grep -q stamped
    fi
    cat "$build/one_header.txt"
    ;;
  pkg_config)
    need pkg-config
    moved_prefix
    pkg_config_in "$build/prefix" softlook
    # shellcheck disable=SC2086  # the flags are several words
    "$CXX" -std=c++20 "-DPACKAGE_VERSION=\"$(pkg-config --modversion softlook)\"" "$here/main.cpp" \
      -o "$build/consumer" $flags
    "$build/consumer"
    ;;
  deb)
    need dpkg-deb
    need pkg-config
    if [ -z "${COMPILED_BUILD:-}" ]; then
      echo "this build has no softlook::compiled to pack"
      exit 77
    fi
    "$(dirname "$(command -v "$CMAKE")")/cpack" -G DEB --config "$COMPILED_BUILD/CPackConfig.cmake" -B "$build"
    dpkg-deb --info "$build"/libsoftlook-dev_*.deb
    dpkg-deb -x "$build"/libsoftlook-dev_*.deb "$build/root"
    names_no_folder "$build/root" "$work"
    for file in copyright changelog.gz changelog.Debian.gz CITATION.cff; do
      test -s "$build/root/usr/share/doc/libsoftlook-dev/$file"
    done
    pkg_config_in "$build/root" softlook-compiled
    # shellcheck disable=SC2086
    "$CXX" -std=c++20 -O2 -DEXPECT_COMPILED=1 "$here/bits.cpp" -o "$build/by_pkg_config" $flags
    same_bits "$build/by_pkg_config"
    "$CMAKE" -S "$here/compiled" -B "$build/build" "-DEigen3_DIR=$EIGEN_DIR" \
      "-DCMAKE_PREFIX_PATH=$build/root/usr"
    "$CMAKE" --build "$build/build" --target compiled
    same_bits "$build/build/compiled"
    ;;
  one_header)
    # Of what `compiled` runs, without softlook::compiled: preprocessed, the file is what the headers are.
    need python3
    set -- softlook/softlook.hpp softlook/gradients.hpp softlook/onnx.hpp softlook/low_precision.hpp
    printf '#include <%s>\n' "$@" > "$build/headers.cpp"
    echo '#include "all.hpp"' > "$build/all.cpp"
    python3 "$source/cmake/packaging/amalgamate.py" --output "$build/all.hpp" "$@"
    tokens() { # FILE FLAG
      "$CXX" -std=c++20 -E -P "$2" -I "$source/include" -isystem "$EIGEN_INCLUDE" "$1" | tr -s '[:space:]' '\n'
    }
    flags='-DNDEBUG -fno-exceptions'
    if [ "$(uname -m)" = x86_64 ]; then flags="$flags -march=x86-64-v3 -march=x86-64-v4"; fi
    for flag in $flags; do
      tokens "$build/headers.cpp" "$flag" > "$build/headers.txt"
      tokens "$build/all.cpp" "$flag" > "$build/all.txt"
      cmp "$build/headers.txt" "$build/all.txt"
      echo "$flag: $(wc -l < "$build/all.txt") pieces, the same"
    done
    ;;
  conan)
    need conan
    # Eigen is what the machine has: nothing is fetched.
    CONAN_HOME=$build/home
    export CONAN_HOME
    conan profile detect
    printf '[platform_requires]\neigen/3.4.0\n' >> "$CONAN_HOME/profiles/default"
    conan create "$source/cmake/packaging/conan" -s compiler.cppstd=20 \
      -c "tools.cmake.cmaketoolchain:generator=$CMAKE_GENERATOR" \
      -c "tools.cmake.cmake_layout:test_folder=$build/test" \
      -c "tools.cmake.cmaketoolchain:extra_variables={'Eigen3_DIR': '$EIGEN_DIR'}" ${CONAN_OPTIONS:-}
    ;;
  vcpkg)
    if ! [ -x "${VCPKG_ROOT:-}/vcpkg" ]; then
      echo "VCPKG_ROOT names no vcpkg"
      exit 77
    fi
    # The port eigen3 of vcpkg/ stands for Eigen on this machine: nothing is fetched.
    VCPKG_FORCE_SYSTEM_BINARIES=1 "$VCPKG_ROOT/vcpkg" install "softlook${VCPKG_FEATURES:-}" \
      --overlay-ports="$source/cmake/packaging/vcpkg" --overlay-ports="$here/vcpkg" \
      --x-install-root="$build/installed" --x-buildtrees-root="$build/trees" \
      --x-packages-root="$build/packages" --binarysource=clear
    way=find_package
    cmake_project "-DCMAKE_TOOLCHAIN_FILE=$VCPKG_ROOT/scripts/buildsystems/vcpkg.cmake" \
      "-DVCPKG_INSTALLED_DIR=$build/installed"
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
