#!/bin/sh
# sh tests/browser/run.sh [REPORT.html...]: writes reports with inspect/report.hpp and uses them in a
# headless Chromium as a reader would (check.py); then opens the reports named and chooses all their
# heads. Screenshots are left in build/browser. Where Chromium (CHROMIUM names another) or Python is
# not there and apt cannot bring it, it says so and ends well.
# sh tests/browser/run.sh --docs FOLDER: searches the pages of the documentation in FOLDER instead (docs.py).
set -eu
me=tests/browser/run.sh
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/cmake/setup.sh"

# Names of what is not there, as Debian packages.
find_browser() {
  missing=
  for browser in ${CHROMIUM:-chromium chromium-browser google-chrome}; do
    if "$browser" --version > /dev/null 2>&1; then break; fi
    browser=
  done
  [ -n "$browser" ] || missing=chromium
  command -v python3 > /dev/null 2>&1 || missing="$missing python3"
  [ -z "$missing" ]
}

if ! find_browser; then
  # Ubuntu's package only starts to fetch a snap, which waits for long where there are none.
  if command -v apt-get > /dev/null 2>&1 && ! grep -q '^ID=ubuntu' /etc/os-release &&
    { [ "$(id -u)" -eq 0 ] || sudo -n true > /dev/null 2>&1; }; then
    # shellcheck disable=SC2086  # several packages
    apt_install $missing || say "apt-get could not install: $missing"
  fi
  if ! find_browser; then
    say "SKIPPED: not installed: $missing"
    exit 0
  fi
fi

if [ "${1:-}" = --docs ]; then
  python3 "$root/tests/browser/docs.py" "$browser" "$2" || die "FAILED"
  say "PASSED with $("$browser" --version)"
  exit 0
fi

need_tools
out=$root/build/browser
mkdir -p "$out"
rm -f "$out"/*.png "$out"/*.html
"$CXX" -std=c++20 -O1 -I "$root/include" -isystem /usr/include/eigen3 \
  -isystem /usr/local/include/eigen3 "$root/tests/browser/pages.cpp" -o "$out/pages" ||
  die "FAILED: the reports do not build"
"$out/pages" "$out" || die "FAILED: no report was written"

python3 "$root/tests/browser/check.py" "$browser" "$out" "$@" || die "FAILED; screenshots are in $out"
say "PASSED with $("$browser" --version)"
