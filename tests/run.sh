#!/bin/sh
# sh tests/run.sh                      builds and runs every test
# sh tests/run.sh --conformance DIR    builds and runs only the conformance runner, on the cases in DIR
# Installs what is missing on Debian and Ubuntu. CXX chooses the compiler; the build is in build/tests.
set -eu
me=tests/run.sh
root=$(cd "$(dirname "$0")/.." && pwd)
started=$(date +%s)
. "$root/cmake/setup.sh"

cases=
case ${1:-} in
  '') ;;
  --conformance)
    [ $# -eq 2 ] || die "usage: sh tests/run.sh [--conformance DIR]"
    [ -d "$2" ] || die "--conformance: $2 is not a folder"
    cases=$(cd "$2" && pwd)
    ;;
  *) die "usage: sh tests/run.sh [--conformance DIR]" ;;
esac

need_tools gtest
want model png
build=$root/build/tests
# No build type: -O2 with assertions (cmake/Warnings.cmake says why). Benchmarks are no tests. Nothing is
# installed, but packed for /usr (tests/consumer).
configure "$build" -DCMAKE_BUILD_TYPE= -DSOFTLOOK_BUILD_TESTS=ON -DSOFTLOOK_BUILD_EXAMPLES=ON \
  -DSOFTLOOK_BUILD_BENCHMARKS=OFF -DSOFTLOOK_INSTALL=ON -DSOFTLOOK_BUILD_COMPILED=ON \
  -DCMAKE_INSTALL_PREFIX=/usr

if [ -n "$cases" ]; then
  "$cmake" --build "$build" --parallel "$jobs" --target softlook_conformance ||
    die "FAILED: the conformance runner does not build"
  set -- "$cases"
  # examples/run.sh fetches it; without it the cases of the sentence encoder are skipped.
  if [ -f "$root/build/model/model.safetensors" ]; then set -- "$@" --model "$root/build/model"; fi
  exec "$build/tests/softlook_conformance" "$@"
fi

"$cmake" --build "$build" --parallel "$jobs" || die "FAILED: the tests do not build"
built=$(date +%s)

ctest=$(dirname "$(command -v "$cmake")")/ctest
[ -x "$ctest" ] || ctest=ctest
status=0
(cd "$build" && "$ctest" --output-on-failure --parallel "$jobs") || status=$?
ended=$(date +%s)

log=$build/Testing/Temporary/LastTest.log
count() { grep -ac "$1" "$log" || true; }
passed=$(count '^Test Passed\.')
failed=$(count '^Test Failed\.')
cases=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test[s]*\..*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
echo
if grep -aq 'MPI was not found' "$log"; then
  say "MPI is not installed: the tests of mpi/ are skipped (Debian: apt-get install libopenmpi-dev openmpi-bin)"
fi
if [ "$status" -eq 0 ]; then
  say "PASSED: $passed tests ($cases GoogleTest cases in them); built in $((built - started)) s, run in $((ended - built)) s"
else
  sed 's/^[0-9]*:/  failed: /' "$build/Testing/Temporary/LastTestsFailed.log" 2> /dev/null || true
  say "FAILED: $failed tests failed, $passed passed; the whole output is in $log"
fi
exit "$status"
