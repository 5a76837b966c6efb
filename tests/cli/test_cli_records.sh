#!/usr/bin/env bash
# mneme add, get, list, forget, stats and check.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
expect 0 mneme init
out "made an empty store"
expect 0 mneme init
out "there already"
expect 0 mneme init --json
json '.created == false and .records == 0'
mkdir sub && expect 0 mneme init sub --json
json '.created == true'
expect 2 mneme init nowhere

# add: ids, replacing, results.
expect 0 mneme add one two --id a
expect 0 mneme get a
[ "$(cat "$work/out")" = "one two" ] || fail "words are not joined by a space"
expect 0 mneme add "one two" --id a --json
json '.id == "a" and .result == "unchanged" and .chunks == 0'
expect 0 mneme add "three" --id a --json
json '.result == "updated" and .chunks == 1'
expect 0 mneme add "a text without an id" --json
json '.result == "added"'
expect 0 mneme add "timed" --time 2023-05-08T13:56:00.123Z
grep -Eq '^20230508T135600\.123-[0-9a-f]{16}$' "$work/out" || fail "the id made of time and text"
id=$(cat "$work/out")
expect 0 mneme add "timed" --time 2023-05-08T13:56:00.123Z
[ "$(cat "$work/out")" = "$id" ] || fail "the same text at the same time has another id"
expect 0 mneme get "$id" --json
json '.time == "2023-05-08T13:56:00.123Z" and .text == "timed" and .namespace == "" and .chunks == 1'
printf 'from\nstdin\n' >"$work/in"
expect_input 0 "$work/in" mneme add - --id in
expect 0 mneme get in
cmp -s "$work/out" "$work/in" || fail "the text is not what came in"
expect_input 2 /dev/null mneme add -
err "empty"
expect 3 mneme add text --id "$(printf 'x%.0s' $(seq 500))"
err "bytes"
printf 'bad \xff\n' >"$work/in"
expect_input 0 "$work/in" mneme add - --id bad
err "replaced 1 invalid UTF-8 sequence"

# get: several, some not there; another namespace is named.
expect 0 mneme add elsewhere --id far --namespace away
expect 1 mneme get far
err "--namespace 'away'"
expect 1 mneme get a nothing in --json
json 'true'
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "one record a line"
err "nothing"

# list: pages that together are the whole.
for i in 1 2 3 4 5 6 7; do
    printf '{"id":"r%d","text":"record %d","namespace":"many","session":"s%d","time":"2024-01-0%d"}\n' $i $i $((i % 2)) $i
done >many.jsonl
expect 0 mneme index many.jsonl
expect 0 mneme list --namespace many --json --text
json '[.records[].id] == ["r1","r2","r3","r4","r5","r6","r7"] and .records[0].text == "record 1" and .next == null'
expect 0 mneme list --namespace many --limit 3 --json
json '[.records[].id] == ["r1","r2","r3"] and (.records[0] | has("text") | not) and (.next | type) == "string"'
if command -v jq >/dev/null 2>&1; then
    next=$(jq -r .next "$work/out")
    expect 0 mneme list --namespace many --limit 3 --after "$next" --json
    json '[.records[].id] == ["r4","r5","r6"]'
fi
expect 0 mneme list --namespace many --session s1 --since 2024-01-02 --json
json '[.records[].id] == ["r3","r5","r7"]'
expect 0 mneme list --source many.jsonl
[ "$(wc -l <"$work/out")" -eq 7 ] || fail "one record a line"
expect 2 mneme list --after nonsense
expect 0 mneme list --namespace none --json
json '.records == []'

# forget: ids, conditions, a dry run; 1 when there was none.
expect 0 mneme forget r1 r2 --namespace many --dry-run --json
json '.forgotten == 2 and .dry_run == true'
expect 0 mneme get r1 -n many
expect 0 mneme forget r1 r2 --namespace many
out "forgot 2 records"
expect 1 mneme get r1 -n many
expect 1 mneme forget r1 --namespace many
expect 1 mneme forget r3
expect 0 mneme forget --session s0 --namespace many --json
json '.forgotten == 2'
expect 0 mneme forget --where 'time >= "2024-01-07"' --json || true
expect 0 mneme forget --namespace many --json
expect 1 mneme forget --namespace many
expect 0 mneme forget in

# stats and check.
expect 0 mneme stats --json
json '.path and .format >= 1 and .generation > 0 and .records == 5 and .chunks == 5 and .bytes_on_disk > 0 and .encoder == "all-MiniLM-L6-v2"'
json '[.namespaces[] | select(.records > 0) | [.name,.records]] == [["",4],["away",1]]'
expect 0 mneme stats
out "all-MiniLM-L6-v2"
expect 0 mneme check
silent
err "0 problems"
expect 0 mneme check --json
json '.sound == true and .problems == [] and .records == 5 and .vectors == 5'

# compact: the same records in a smaller file.
before=$(stat -c %s .mneme/data.mdb)
expect 0 mneme compact --json
json ".records == 5 and .chunks == 5 and .bytes_before == $before and .bytes_after < .bytes_before"
[ "$(stat -c %s .mneme/data.mdb)" -lt "$before" ] || fail "compact did not make the file smaller"
expect 0 mneme compact --vectors int8
silent
err "5 records, 5 chunks"
expect 2 mneme compact --vectors int3
expect 0 mneme check
expect 4 mneme --store nowhere compact

# Damage: named, and 1. (What kinds there are is memstore's own test.)
cp -r .mneme broken
size=$(stat -c %s broken/data.mdb)
dd if=/dev/urandom of=broken/data.mdb bs=4096 seek=2 count=$((size / 4096 - 2)) conv=notrunc 2>/dev/null
code=0
mneme --store broken check --json >"$work/out" 2>"$work/err" </dev/null || code=$?
[ "$code" -eq 1 ] || [ "$code" -eq 4 ] || fail "check of a broken store gave $code"
echo "passed"
