#!/usr/bin/env bash
# --where: the same records for list, query, context, forget, export and eval; mistakes point at the column.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"

cat >"$work/corpus.jsonl" <<'END'
{"_id":"d1","text":"A letter about the bridge over the river.","metadata":{"kind":"letter","year":1912,"tags":["bridge","river"],"sent":"1912-05-01","from":{"city":"Rome"}}}
{"_id":"d2","text":"A report on the bridge and its stones.","metadata":{"kind":"report","year":1913.5,"tags":["bridge"],"secret":true,"from":{"city":"Oslo"}}}
{"_id":"d3","text":"A note on the river in spring.","speaker":"Ann","session":"s1","time":"2023-05-08T10:00:00Z","metadata":{"kind":"note","year":-3,"sent":"2023-05-08T23:30:00-02:00"}}
{"_id":"d4","text":"The bridge was closed.","speaker":"Bob","session":"s1","time":"2023-05-09","metadata":{"kind":null}}
{"_id":"d5","text":"Nothing about it.","namespace":"other","metadata":{"kind":"letter"}}
END
expect 0 mneme init --store "$MNEME_STORE"
expect 0 mneme index "$work/corpus.jsonl"

lists() { # lists EXPR IDS: the records, in the order of adding
    expect 0 mneme list --where "$1" --json
    json "[.records[].id] == [$2]"
}
lists "kind = 'letter'" '"d1","d5"'
lists "kind = 'letter' and namespace = ''" '"d1"'
lists "kind != 'letter'" '"d2","d3","d4"'
lists "kind in ('note', 'report') or secret = true" '"d2","d3"'
lists "kind not in ('note', 'report') and exists kind" '"d1","d5"'
lists "year < 1913" '"d1","d3"'
lists "year >= 1912 and year <= 1e4" '"d1","d2"'
lists "tags contains 'bridge'" '"d1","d2"'
lists "tags contains 'brid'" ''
lists "kind contains 'te'" '"d1","d3","d5"'
lists "from.city = 'Rome' or metadata.from.city = 'Oslo'" '"d1","d2"'
lists "from contains 'city'" '"d1","d2"'
lists "sent >= 2023-05-09" '"d3"'
lists "sent < 2000-01-01" '"d1"'
lists "time > 2023-05-08T09:59:59Z and time < 2023-05-09" '"d3"'
lists "session = 's1' and speaker = 'Bob'" '"d4"'
lists "kind = null" '"d4"'
lists "exists time and not exists kind" '"d4"'
lists "kind = 7" ''

expect 0 mneme query bridge --mode lexical --where "kind = 'letter'" --json
json '[.hits[].id] == ["d1"]'
expect 0 mneme query bridge --where "from.city in ('Rome', 'Oslo')" --json
json '[.hits[].id] | sort == ["d1","d2"]'
expect 1 mneme query bridge --where "kind = 'poem'" --json
expect 0 mneme context bridge --where "tags contains 'river'" --json
json '[.passages[].id] == ["d1"]'
expect 1 mneme context bridge --where "year = 5" --json

expect 0 mneme export --where "kind in ('letter', 'note')"
[ "$(grep -o '^{"id":"[^"]*"' "$work/out" | tr -d '\n')" = '{"id":"d1"{"id":"d3"{"id":"d5"' ] || fail "export --where"
expect 0 mneme export --where "from contains 'city'" --namespace ""
[ "$(grep -o '^{"id":"[^"]*"' "$work/out" | tr -d '\n')" = '{"id":"d1"{"id":"d2"' ] || fail "export --where --namespace"

# eval: a filter leaves out what is judged relevant.
mkdir -p "$work/beir/qrels"
echo '{"_id":"q1","text":"bridge"}' >"$work/beir/queries.jsonl"
printf 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t1\n' >"$work/beir/qrels/test.tsv"
expect 0 mneme eval "$work/beir" --mode lexical --json
json '."recall@10" == 1'
expect 0 mneme eval "$work/beir" --mode lexical --where "kind = 'letter'" --json
json '."recall@10" == 0.5'
expect 2 mneme eval "$work/beir" --mode lexical --where "kind ="
err "column 7"

# Mistakes: the column, in characters, and what was expected there.
for command in "list" "query x --mode lexical" "context x" "forget" "export"; do
    expect 2 mneme $command --where "kind = 'é' and year ! 3"
    err "where: column 21: expected = != < <= > >= in or contains"
done
expect 2 mneme list --where "(kind = 'letter'"
err "expected and, or, or )"

expect 0 mneme forget --where "year < 0 or kind = null" --dry-run --json
json '.forgotten == 2'
expect 0 mneme forget --where "kind = 'letter'" --namespace other --json
json '.forgotten == 1'
expect 1 mneme forget --where "kind = 'poem'"
expect 0 mneme forget --where "secret = true" --json
json '.forgotten == 1'
lists "exists id" '"d1","d3","d4"'
expect 0 mneme check
