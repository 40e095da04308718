#!/bin/sh
# check.sh PROGRAM SOURCE [ARGUMENT...]: runs an example in the current folder, shows its output, and
# fails when it does or when a line "// expect: REGEX" (extended, for one line of output) of SOURCE
# finds nothing.
set -eu
program=$1 source=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Shown while it runs and kept for the comparison; the status of a pipe would be tee's.
{ "$program" "$@" && echo 0 > "$work/status" || echo $? > "$work/status"; } 2>&1 | tee "$work/output"
status=$(cat "$work/status")
if [ "$status" -ne 0 ]; then
  echo "$program: exit status $status"
  exit 1
fi

sed -n 's|^// expect: ||p' "$source" > "$work/expected"
if ! [ -s "$work/expected" ]; then
  echo "$source: no '// expect: ' line"
  exit 1
fi
faults=0
while IFS= read -r pattern; do
  if ! grep -Eaq -e "$pattern" "$work/output"; then
    echo "$program: no line of the output matches: $pattern"
    faults=$((faults + 1))
  fi
done < "$work/expected"
[ "$faults" -eq 0 ]
