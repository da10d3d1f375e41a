#!/bin/sh
# tests/again.sh cargo test ARGUMENT...: runs the tests; if at most three fail, runs those once more, alone.
# A test that then passes is named as flaky at the end, to be mended: it does not stop a change that it has
# nothing to do with. What fails twice, does not compile or dies of a signal fails here too.
set -eu

most=3
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The status of a pipe is its last command's, so the first one's goes through a file.
{ "$@" --no-fail-fast 2>&1 && echo 0 >"$log.status" || echo $? >"$log.status"; } | tee "$log"
status=$(cat "$log.status")
rm -f "$log.status"
[ "$status" -ne 0 ] || exit 0

# libtest ends with a list of the names that failed, four spaces before each. Where the list is not all
# that went wrong (a crash, a doc test, a build), nothing is run again.
names=$(sed -n '/^failures:$/,/^test result:/s/^    \([^ ]*\)$/\1/p' "$log" | sort -u)
count=$(echo "$names" | grep -c . || true)
failed=$(sed -n 's/^test result: FAILED\..* \([0-9]*\) failed;.*/\1/p' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
complete=$(grep -c '^test result: FAILED' "$log" || true)
targets=$(grep -c '^error: .*failed, to rerun pass' "$log" || true)
if [ "$count" -eq 0 ] || [ "$count" -gt "$most" ] || [ "$count" -ne "$failed" ] || [ "$complete" -ne "$targets" ]; then
    exit "$status"
fi

echo "tests/again.sh: once more, alone:" $names
# shellcheck disable=SC2086 # one word for each test
"$@" --no-fail-fast -- --exact --test-threads=1 $names
for name in $names; do
    echo "tests/again.sh: FLAKY: $name failed among the others and passed alone"
done
