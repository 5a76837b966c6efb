#!/usr/bin/env bash
# docs_eval_commands_work: runs the sh block of docs/eval.md on the first records and questions of Cranfield.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
data=$MNEME_SHARED_DATA/cranfield
[ -e "$data/corpus.jsonl" ] || { echo "skipped: no ../shared/data"; exit 77; }
mkdir -p cranfield/qrels
head -n 100 "$data/corpus.jsonl" >cranfield/corpus.jsonl
head -n 20 "$data/queries.jsonl" >cranfield/queries.jsonl
cp "$data/qrels/test.tsv" cranfield/qrels/
awk '$0 == "```sh" { on = 1; next } /^```/ { on = 0 } on' "$MNEME_SOURCE_DIR/docs/eval.md" >commands
[ "$(wc -l <commands)" -ge 9 ] || fail "docs/eval.md has hardly any commands"
while read -r line; do eval "$line" </dev/null >"$work/out" 2>"$work/err" || fail "$line"; cat "$work/out" >>all; done <commands
for text in "recall@100" "precision@5" "plain_context_recall@4096" "paired randomisation test" "best ndcg@10 on the half"; do
    grep -qF -- "$text" all || fail "nothing says $text"
done
for file in dense.run hybrid.run hybrid.tsv window.svg latency.svg; do [ -s "$file" ] || fail "no $file"; done
echo "passed"
