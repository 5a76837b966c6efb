#!/usr/bin/env bash
# Strength on the command line: reinforce, pin, ends, prune with an archive, consolidate; the time is set throughout.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"
at() { # at TIME COMMAND...: as expect 0, at a time
    local time=$1
    shift
    MNEME_CLOCK_NOW=$time expect 0 "$@"
}

# ids and times come from the clock that is set
at 2024-03-02T10:15:00Z mneme add "The spare key is under the third flower pot."
out 20240302T101500.000-
expect 0 mneme forget "$(cat "$work/out")"

at 2024-01-01 mneme add "The spare key is under the third flower pot." --id key --importance 0.8
at 2024-01-01 mneme add "Our dog is called Bruno and is afraid of thunder." --id dog --importance 0.4
at 2024-01-01 mneme add "The tax return is due on the last day of July." --id tax --importance 0.2 --ttl 30d
at 2024-01-01 mneme add "What shall we eat?" --id food --pin

# get and list show it
at 2024-12-31 mneme get key --json # a half-life of 365 days later
json '.importance == 0.8 and .strength == 0.4 and .uses == 0 and .written == "2024-01-01T00:00:00Z" and .half_life_days == 365'
at 2024-01-02 mneme get tax --json
json '.expires == "2024-01-31T00:00:00Z"'
at 2024-01-02 mneme get food --json
json '.pinned and .strength == 1'
at 2024-01-02 mneme list --json
json '[.records[] | has("strength")] | all'

# a question changes nothing unless it is told to
cp "$MNEME_STORE/data.mdb" "$work/before"
at 2024-01-02 mneme query "where is the key?" --json -k 1
json '.hits[0].id == "key" and (.hits[0] | has("strength") | not)'
cmp -s "$work/before" "$MNEME_STORE/data.mdb" || fail "a query wrote"
at 2024-01-11 mneme query "where is the key?" -k 1 --strengthen
at 2024-01-11 mneme get key --json
json '.uses == 1 and .last_use == "2024-01-11T00:00:00Z" and .strength > 0.88'
at 2024-01-11 mneme context "where is the key?" -k 1 --set memory.strengthen=on
at 2024-01-11 mneme get key --json
json '.uses == 2'
at 2024-01-11 mneme query "where is the key?" --json -k 1 --set retrieval.strength_weight=0.5
json '.hits[0].strength > 0.9 and .hits[0].recency == 1'

# reinforce and pin: all or none
at 2024-01-11 mneme reinforce dog --amount 1
out "reinforced 1 record"
at 2024-01-11 mneme get dog --json
json '.uses == 1 and .strength > 0.69 and .strength < 0.7'
expect 1 mneme reinforce dog cat
err cat
expect 2 mneme reinforce
expect 2 mneme reinforce dog --amount 0
expect 0 mneme pin dog --json
json '.pinned == 1'
expect 0 mneme unpin dog
out "unpinned 1 record"
expect 1 mneme pin dog --namespace other
expect 2 mneme add x --importance 2
expect 2 mneme add x --ttl soon
expect 2 mneme add x --ttl 1d --expires 2024-01-01

# what has ended is not answered, and prune removes it
at 2024-02-01 mneme list
no_out tax
at 2024-02-01 mneme list --expired
out tax
MNEME_CLOCK_NOW=2024-02-01 expect 1 mneme get tax
at 2024-02-01 mneme query "when is the tax return due?" --json
json '[.hits[].id] | index("tax") | not'
at 2024-02-01 mneme prune --dry-run
out "expired      0.189  never used  tax"
err "would prune 1 record"
at 2024-02-01 mneme list --expired
out tax

# a budget, with an archive
at 2024-02-01 mneme prune --max-records 2 --dry-run --json
json '.pruned == 2 and .expired == 1 and .over_budget == 1 and .kept_records == 2 and .dry_run'
json '[.records[] | .id + ":" + .reason] == ["tax:expired", "dog:over budget"]'
at 2024-02-01 mneme prune --max-records 2 --archive "$work/archive" --json
json '.pruned == 2 and .archived == 1 and (.dry_run | not)'
at 2024-02-01 mneme list --expired --json
json '[.records[].id] | sort == ["food", "key"]'
at 2024-02-01 mneme --store "$work/archive" query "what is the dog afraid of?" --json
json '[.hits[].id] == ["dog"]'
at 2024-02-01 mneme --store "$work/archive" get dog --json
json '.uses == 1 and .importance == 0.4'
expect 0 mneme --store "$work/archive" check

# the archive has that id for another record: both stay
at 2024-02-01 mneme --store "$work/again" add "Our dog is called Rex." --id dog
at 2024-02-01 mneme --store "$work/again" prune --min-strength 1 --archive "$work/archive" --json
json '[.records[] | .id + ":" + .archived_id] == ["dog:dog (2)"]'
at 2024-02-01 mneme --store "$work/again" add "Our dog is called Max." --id dog
at 2024-02-01 mneme --store "$work/again" prune --min-strength 1 --archive "$work/archive"
err 'another record "dog"; this one is in it as "dog (3)"'
at 2024-02-01 mneme --store "$work/archive" list --json
json '[.records[].id] | sort == ["dog", "dog (2)", "dog (3)"]'
expect 2 mneme prune --max-records 0
expect 2 mneme prune --min-strength 2
expect 2 mneme prune --seed 1
expect 2 mneme prune --min-strength 0.5 --strategy newest
expect 2 mneme prune --max-records 1 --archive "$MNEME_STORE"
expect 2 mneme prune --max-records 1 --archive "$MNEME_STORE/old"
err "outside"

# near-duplicates
at 2024-02-02 mneme add "the spare key is under the third flower pot" --id key2
at 2024-02-02 mneme consolidate --dry-run --json
json '.merged == 1 and .merges[0].id == "key2" and .merges[0].merged == "key" and .merges[0].cosine > 0.95 and .merges[0].terms == 1'
at 2024-02-02 mneme consolidate
out "key -> key2"
err "merged 1 record into 1, of 3"
at 2024-02-02 mneme get key2 --json
json '.metadata.consolidated == [{"id": "key", "text": "The spare key is under the third flower pot."}] and .uses == 3'
at 2024-02-02 mneme --store "$work/facts" add "Anna told Peter that the meeting with the bank was moved to Friday." --id 1
at 2024-02-03 mneme --store "$work/facts" add "Peter told Anna that the meeting with the bank was moved to Friday." --id 2
at 2024-02-03 mneme --store "$work/facts" add "The late flight to Rome now leaves from terminal one, says the airport." --id 3
at 2024-02-03 mneme --store "$work/facts" add "The late flight to Rome now leaves from terminal two, says the airport." --id 4
at 2024-02-04 mneme --store "$work/facts" consolidate --json
json '.merged == 0 and .records == 4'
for share in 2 0 -0.5; do
    expect 2 mneme consolidate --cosine "$share"
    expect 2 mneme consolidate --terms "$share"
done
err "--cosine and --terms"

# records as JSONL
cat >"$work/records.jsonl" <<'JSONL'
{"id": "j1", "text": "An umbrella is in the hall.", "importance": 0.75, "pinned": true, "expires": "2030-01-01"}
{"id": "j2", "text": "The bus leaves at noon.", "ttl": 60}
{"id": "j3", "text": "No.", "importance": "much"}
JSONL
MNEME_CLOCK_NOW=2024-02-02 expect 3 mneme index "$work/records.jsonl"
err importance
at 2024-02-02 mneme get j1 --json
json '.importance == 0.75 and .pinned and .expires == "2030-01-01T00:00:00Z"'
at 2024-02-02T00:00:59Z mneme get j2
MNEME_CLOCK_NOW=2024-02-02T00:01:00Z expect 1 mneme get j2
MNEME_CLOCK_NOW=tomorrow expect 2 mneme list
err "clock.now"
expect 0 mneme check
