#!/usr/bin/env bash
# index_killed_and_run_again_ends_in_the_same_store: kill -9 at several moments of `index`, check, index again, and
# compare with a store that was made undisturbed. MNEME_TEST_LONG=1: many more moments.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MNEME_CLOCK_NOW=2026-01-01 # when a record was written is part of what is compared
trials=4
[ -z "${MNEME_TEST_LONG:-}" ] || trials=200
# 600 records of a few sentences: several transactions of index.batch_records.
awk 'BEGIN { RS = ""; n = 0 } length($0) > 200 && n < 600 { gsub(/[\\"]/, ""); gsub(/[\n\t\r]/, " "); n++
  printf "{\"_id\": \"p%d\", \"session\": \"s%d\", \"text\": \"%s\"}\n", n, n % 7, substr($0, 1, 300) }' \
  "$MNEME_SOURCE_DIR/examples/grimms-fairy-tales.txt" | iconv -f utf-8 -t utf-8 -c > "$work/corpus.jsonl"
content() { mneme --store "$1" list --limit 10000 --json | sed 's/"generation":[0-9]*//'; }
index=(--set index.batch_records=32 --quiet index "$work/corpus.jsonl")
run() { mneme --store "$1" "${index[@]}"; }

started=$(date +%s%N)
run "$work/whole"
took=$((($(date +%s%N) - started) / 1000000))
content "$work/whole" > "$work/whole.json"
mneme --store "$work/whole" query "the king's daughter" --json | sed 's/"took_ms":[0-9.e+-]*,//; s/"generation":[0-9]*,//' > "$work/whole.answer"
echo "undisturbed: $took ms, $(wc -l < "$work/corpus.jsonl") records"

for trial in $(seq "$trials"); do
  store=$work/killed
  rm -rf "$store"
  delay=$((took * (RANDOM % 90 + 5) / 100))
  mneme --store "$store" "${index[@]}" > /dev/null 2>&1 & # the command itself, not a shell around it, is what is killed
  child=$!
  sleep "$(awk -v ms="$delay" 'BEGIN { print ms / 1000 }')"
  kill -9 "$child" 2> /dev/null || true
  wait "$child" 2> /dev/null || true
  if [ -e "$store/data.mdb" ]; then
    mneme --store "$store" check > "$work/check" || { echo "trial $trial ($delay ms): damage:"; cat "$work/check"; exit 1; }
    kept=$(mneme --store "$store" stats --json | sed -n 's/.*"records":\([0-9]*\).*/\1/p' | head -n 1)
  else kept=0; fi
  run "$store"
  mneme --store "$store" check > /dev/null
  content "$store" | cmp - "$work/whole.json" || { echo "trial $trial ($delay ms): the stores differ"; exit 1; }
  mneme --store "$store" query "the king's daughter" --json | sed 's/"took_ms":[0-9.e+-]*,//; s/"generation":[0-9]*,//' |
    cmp - "$work/whole.answer" || { echo "trial $trial: the answers differ"; exit 1; }
  echo "killed after $delay ms: $kept records kept, the rest added"
done
