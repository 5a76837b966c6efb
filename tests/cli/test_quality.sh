#!/usr/bin/env bash
# retrieval_on_judged_sets_reaches_the_floors: both sets indexed from nothing, defaults only.
set -eu
data=$MNEME_SHARED_DATA
[ -e "$data/cranfield/corpus.jsonl" ] && [ -e "$data/locomo/corpus.jsonl" ] || { echo "skipped: no ../shared/data"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
measure() { # measure SET MODE KEY: the value
  mneme --store "$work/$1" eval "$data/$1" --mode "$2" --json | sed -n "s/.*\"$3\":\([0-9.]*\).*/\1/p"
}
failures=0
at_least() { # at_least SET MODE KEY FLOOR
  local value
  value=$(measure "$1" "$2" "$3")
  if awk -v v="$value" -v f="$4" 'BEGIN { exit !(v != "" && v >= f) }'; then echo "$1 $2 $3 $value (floor $4)"
  else echo "$1 $2 $3 is \"$value\", below $4"; failures=$((failures + 1)); fi
}
for set in cranfield locomo; do mneme --store "$work/$set" --quiet index "$data/$set/corpus.jsonl"; done
at_least cranfield hybrid ndcg@10 0.455
at_least cranfield hybrid recall@100 0.82
at_least cranfield dense ndcg@10 0.39
at_least cranfield lexical ndcg@10 0.37
at_least locomo hybrid recall@10 0.785
at_least locomo hybrid recall@20 0.845
# Same store, same question: same answer from every process.
ask() { mneme --store "$work/cranfield" query "heat transfer in slip flow" --json | sed 's/"took_ms":[0-9.e+-]*,//'; }
[ "$(ask)" = "$(ask)" ] || { echo "two runs of one query differ"; failures=$((failures + 1)); }
mneme --store "$work/locomo" check || failures=$((failures + 1))
[ "$failures" -eq 0 ]
