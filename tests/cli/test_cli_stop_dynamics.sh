#!/usr/bin/env bash
# Ctrl-C during prune and consolidate: they stop between two transactions, say what they have done, and exit with 130.
# What they list goes to a pipe that nobody reads until the signal has come, so that they cannot be through before it.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
if ! env --default-signal=INT true 2>/dev/null; then
    echo "skipped: env cannot reset signals"
    exit 77
fi
export MNEME_STORE="$work/store"
pad=$(printf '%0100d' 0)
awk -v pad="$pad" 'BEGIN { for (i = 1; i <= 4000; i++)
    printf "{\"id\":\"%s-%d\",\"text\":\"Harbour h%d ship s%d.\",\"chunks\":[{\"start\":0,\"end\":5,\"vector\":[1,0]}]}\n", pad, i, i / 2, i / 2 }' >many.jsonl
expect 0 mneme import many.jsonl

stop() { # stop COMMAND...: runs it with its output in a pipe, reads a line, sends the signal, reads the rest
    mkfifo pipe
    env --default-signal=INT mneme "$@" >pipe 2>"$work/err" &
    pid=$!
    exec 3<pipe
    read -r line <&3
    kill -INT "$pid"
    cat <&3 >"$work/out"
    code=0
    wait "$pid" || code=$?
    exec 3<&-
    rm pipe
    [ "$code" -eq 130 ] || fail "Ctrl-C gave $code: $*"
    err "stopped; the same command goes on where this one ended"
}

stop prune --max-records 1 --dry-run
err "would prune"
no_err "would prune 3999 records"
stop consolidate --dry-run
err "would merge"
no_err "would merge 2000 records"
stop consolidate
err "merged"
expect 0 mneme stats --json
json '.records > 2001 and .records < 4000'
expect 0 mneme check
expect 0 mneme consolidate --json
json '.merged > 0 and .merged < 2000'
expect 0 mneme prune --max-records 1 --json
json '.kept_records == 1'
echo "passed"
