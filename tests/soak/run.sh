#!/bin/sh
# sh tests/soak/run.sh [HOURS]: random cases against the oracle on every instruction set, for so many hours (any number,
# 0.1 too), or without an end. What fails is made small, printed as a test, and kept in build/soak/found.
# SEED is the first seed (the time, without it), UNTIL ends it after so many compared calls on each set, KIND names one
# kind of cases. Ends with status 1 if anything failed.
set -eu
me=tests/soak/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

hours=${1:-}
case $hours in *[!0-9.]* | *.*.*) die "usage: sh tests/soak/run.sh [HOURS]" ;; esac
need_tools gtest
build=$root/build/soak
configure "$build" -DCMAKE_BUILD_TYPE=Release -DSOFTLOOK_BUILD_TESTS=ON -DSOFTLOOK_BUILD_EXAMPLES=OFF \
  -DSOFTLOOK_BUILD_BENCHMARKS=OFF -DSOFTLOOK_BUILD_COMPILED=ON
"$cmake" --build "$build" --parallel "${JOBS:-$jobs}" --target softlook_soak || die "FAILED: the soak does not build"
mkdir -p "$build/found"
set -- --out "$build/found" --first "${SEED:-$(date +%s)000000}"
if [ -n "$hours" ]; then set -- "$@" --seconds "$(awk "BEGIN { print $hours * 3600 }")"; fi
if [ -n "${UNTIL:-}" ]; then set -- "$@" --until "$UNTIL"; fi
if [ -n "${KIND:-}" ]; then set -- "$@" --kind "$KIND"; fi
exec "$build/tests/softlook_soak" "$@"
