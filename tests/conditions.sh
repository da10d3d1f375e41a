#!/bin/sh
# Runs a few tests under each condition that they must not depend on: ignored signals, another umask,
# limits, an odd environment, a terminal or nothing at all on their standard input, a busy machine.
#
#   tests/conditions.sh [CONDITION...]        all of them, if none is named
#   tests/conditions.sh --list
#
# `cargo test` has each test program started by this script again, as its runner:
#   tests/conditions.sh --run CONDITION PROGRAM ARGUMENT...
set -eu

conditions="nohup background ignored umask-077 umask-000 locale environment no-home tmpdir-relative
tmpdir-space tmpdir-memory limits no-stdin terminal nobody busy"
# Tests that start the program, stop it, send it signals, read its streams, or look at modes and limits.
filters="terminal:: streams:: file_limit:: exit_status:: store::"

run() {
    condition=$1
    shift
    case $condition in
    nohup) trap '' HUP ;;
    background) trap '' INT QUIT ;;
    ignored) trap '' HUP INT QUIT TERM PIPE CHLD USR1 USR2 ALRM ;;
    umask-*) umask "${condition#umask-}" ;;
    locale) export LC_ALL=tr_TR.UTF-8 LANG=de_DE.ISO-8859-1 LANGUAGE=fr TZ=Asia/Kathmandu ;;
    environment)
        export LOWERDIR_STORE=/nowhere SOURCE_DATE_EPOCH=1 NO_COLOR=1 CLICOLOR_FORCE=1 COLUMNS=20 \
            TERM=dumb XDG_DATA_HOME=/nowhere XDG_RUNTIME_DIR=nowhere TAR_OPTIONS=--nothing \
            POSIXLY_CORRECT=1 GZIP=-9
        ;;
    no-home) unset HOME ;;
    tmpdir-relative) mkdir -p target/tmp/relative && export TMPDIR=target/tmp/relative ;;
    tmpdir-space) mkdir -p "target/tmp/a b" && export TMPDIR="$PWD/target/tmp/a b" ;;
    tmpdir-memory) [ ! -w /dev/shm ] || export TMPDIR=/dev/shm ;;
    limits) ulimit -S -n 64 && ulimit -S -f 8 && ulimit -S -c unlimited ;;
    no-stdin) exec <&- ;;
    terminal) exec setsid -w script -q -e -c "'$1' --test-threads=2 $filters" /dev/null ;;
    nobody) [ "$(id -u)" -ne 0 ] || set -- setpriv --reuid=65534 --regid=65534 --clear-groups "$@" ;;
    busy) set -- nice -n 19 "$@" ;;
    *) echo "conditions.sh: there is no condition $condition" >&2 && exit 2 ;;
    esac
    exec "$@"
}

busy() {
    while :; do :; done
}

case ${1-} in
--list) echo "$conditions" && exit ;;
--run) shift && run "$@" ;;
esac

cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
$cargo test --locked --quiet --no-run --test cli --test house
failed=
for condition in ${*:-$conditions}; do
    hogs=
    if [ "$condition" = busy ]; then
        for _ in 1 2 3 4; do
            busy &
            hogs="$hogs $!"
        done
    fi
    runner="[\"$PWD/tests/conditions.sh\", \"--run\", \"$condition\"]"
    status=0
    # shellcheck disable=SC2086 # one word for each filter
    timeout -k 10 900 $cargo test --locked --quiet --test cli --test house \
        --config "target.'cfg(all())'.runner=$runner" -- start_ $filters >"target/tmp/$condition.log" 2>&1 ||
        status=$?
    if [ "$status" -eq 0 ]; then
        echo "conditions.sh: $condition: as usual"
    else
        failed="$failed $condition"
        echo "conditions.sh: $condition: status $status (the log follows)"
        cat "target/tmp/$condition.log"
    fi
    # shellcheck disable=SC2086 # one word for each
    [ -z "$hogs" ] || kill $hogs
done
if [ -n "$failed" ]; then
    echo "conditions.sh: tests depend on how they are started:$failed" >&2
    exit 1
fi
