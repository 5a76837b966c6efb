#!/usr/bin/env bash
# mneme query and context: hits, shapes, filters, empty answers.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"

# An empty store answers, with 1 and a word about it.
expect 0 mneme init --store "$MNEME_STORE"
expect 1 mneme query anything
silent
err "is empty"
expect 1 mneme query anything --json
json '.hits == [] and .query == "anything" and (.took_ms | type) == "number"'
expect 1 mneme context anything --json
json '.tokens == 0 and .text == "" and .passages == []'

expect 0 mneme add "The spare key is under the third flower pot." --id key --title House --metadata '{"kind":"note","n":3}'
[ "$(cat "$work/out")" = key ] || fail "add does not print the id"
expect 0 mneme add "Dinner with Ben at eight." --id dinner --speaker Ana --time 2023-05-08T18:00:00Z --session may
expect 0 mneme add "Ben brought a cake to the dinner." --id cake --speaker Ana --time 2023-05-09 --session may
expect 0 mneme add "Le ch\xc3\xa2teau est ferm\xc3\xa9." --namespace french --id chateau

expect 0 mneme query "where is the spare key?" --json
json '.query == "where is the spare key?" and .hits[0].id == "key" and .hits[0].chunk == 0'
json '.hits[0] | .start == 0 and .end == 44 and .text == "The spare key is under the third flower pot." and .title == "House" and .metadata == {"kind":"note","n":3} and .namespace == ""'
json 'all(.hits[]; .score >= 0 and .score <= 1 and .dense >= 0 and .dense <= 1 and .lexical >= 0 and .lexical <= 1 and .attention >= 0 and .attention <= 1)'
json '[.hits[].score] == ([.hits[].score] | sort | reverse)'
json '([.hits[].attention] | add) > 0.999 and ([.hits[].attention] | add) < 1.001'
expect 0 mneme query dinner -k 1 --json
json '(.hits | length) == 1'
expect 0 mneme query dinner -k2 --json
json '(.hits | length) == 2 and .hits[0].speaker == "Ana" and (.hits[0].time | startswith("2023-05-0")) and .hits[0].session == "may"'
expect 0 mneme query --mode lexical cake --json
json '.hits[0].id == "cake" and .hits[0].lexical > 0'
expect 0 mneme query cake --mode dense --json
json '.hits[0].id == "cake" and .hits[0].dense > 0'
expect 1 mneme query --mode lexical zeppelin
err "nothing found"

# Filters.
expect 0 mneme query dinner --since 2023-05-09 --json
json '[.hits[].id] == ["cake"]'
expect 0 mneme query dinner --since 2023-05-08 --until 2023-05-09 --json
json '[.hits[].id] == ["dinner"]'
expect 0 mneme query dinner --namespace french --json
json '[.hits[].id] == ["chateau"]'
expect 0 mneme query dinner --namespace "" --session may --json
json '[.hits[].id] | sort == ["cake","dinner"]'
expect 0 mneme query pot --where 'kind = "note" and n >= 3' --json
json '[.hits[].id] == ["key"]'
expect 2 mneme query pot --where 'kind = '
err "olumn"
expect 1 mneme query pot --namespace frensh
err "did you mean 'french'?"
expect 1 mneme query pot --since 2030-01-01

# The question from standard input; words of the question are joined.
echo "where is the spare key?" >"$work/in"
expect_input 0 "$work/in" mneme query - -k 1 --json
json '.query == "where is the spare key?" and .hits[0].id == "key"'
expect 0 mneme query spare key -k 1 --json
json '.query == "spare key"'
expect 0 mneme query -k 1 -- -key
expect 2 mneme query -key

# For people: rank, score, id, range, snippet; no colour where there is no terminal.
expect 0 mneme query "spare key" -k 1
out "1. "
out "key 0-44"
out "House"
out "The spare key is under"
! grep -q "$(printf '\033')" "$work/out" || fail "colour without a terminal"
expect 0 mneme query "spare key" -k 1 --set output.color=always
grep -q "$(printf '\033\[1;33m')spare" "$work/out" || fail "the words are not marked"
NO_COLOR=1 expect 0 mneme query "spare key" -k 1
expect 0 mneme query "spare key" -k 1 --quiet
[ ! -s "$work/err" ] || fail "--quiet speaks"
if command -v script >/dev/null 2>&1; then
    script -qec "mneme query 'spare key' -k 1" /dev/null >"$work/out" </dev/null
    grep -q "$(printf '\033\[')" "$work/out" || fail "no colour on a terminal"
    NO_COLOR=1 script -qec "mneme query 'spare key' -k 1" /dev/null >"$work/out" </dev/null
    ! grep -q "$(printf '\033\[[0-9]')" "$work/out" || fail "colour in spite of NO_COLOR"
fi

# The window: text alone on stdout, within the budget; passages that point into the records.
expect 0 mneme context "what about the dinner?" --budget 60 --json
json '.tokens > 0 and .tokens <= 60 and (.text | length) > 0 and (.passages | length) > 0'
json 'all(.passages[]; (.id | type) == "string" and .end > .start and .weight >= 0 and .weight <= 1 and (.text | length) > 0)'
json '. as $w | all(.passages[]; .text as $t | $w.text | contains($t))'
expect 0 mneme context "what about the dinner?" --budget 60 --sources
out "Dinner with Ben"
no_out " %"
err "dinner 0-25"
expect 0 mneme context "what about the dinner?" --quiet
[ ! -s "$work/err" ] || fail "--quiet speaks"

# An encoder that is not there, and one that is not the store's.
expect 2 mneme query x --set encoder.model=no-such-model
err "no-such-model"
mkdir "$work/model" && echo '{}' >"$work/model/config.json"
expect 2 mneme query x --set "encoder.model=$work/model"
expect 0 mneme query cake --mode lexical --set "encoder.model=$work/model" --json
echo "passed"
