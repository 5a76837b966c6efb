#!/usr/bin/env bash
# Ctrl-C during index: what was stored stays, the exit code says so, and the same command goes on.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
if ! env --default-signal=INT true 2>/dev/null; then
    echo "skipped: env cannot reset signals"
    exit 77
fi
awk 'BEGIN { for (i = 1; i <= 4000; i++) printf "{\"id\":\"r%d\",\"text\":\"Record %d tells of harbour %d and of the ship that left it in the year %d.\"}\n", i, i, i * 7 % 101, 1000 + i }' >many.jsonl

# Small batches, so that there is something between them; wait until one is stored.
env --default-signal=INT mneme --store "$work/store" index many.jsonl --json --set index.batch_records=64 >"$work/out" 2>"$work/err" &
pid=$!
for try in $(seq 200); do
    [ -f "$work/store/data.mdb" ] && mneme --store "$work/store" list --limit 1 2>/dev/null | grep -q r1 && break
    sleep 0.02
done
kill -INT "$pid"
code=0
wait "$pid" || code=$?
if [ "$code" -eq 0 ]; then
    echo "the machine was faster than the signal"
else
    [ "$code" -eq 130 ] || fail "Ctrl-C gave $code"
    err "goes on where this one ended"
    json '.added > 0 and .added < 4000 and .added % 64 == 0 or .added < 4000'
    if command -v jq >/dev/null 2>&1; then
        added=$(jq .added "$work/out")
        expect 0 mneme --store "$work/store" stats --json
        json ".records == $added"
        expect 0 mneme --store "$work/store" check
        expect 0 mneme --store "$work/store" index many.jsonl --json
        json ".unchanged == $added and .added == 4000 - $added"
    fi
fi
expect 0 mneme --store "$work/store" index many.jsonl --json
json '.unchanged == 4000 and .added == 0'
expect 0 mneme --store "$work/store" check
echo "passed"
