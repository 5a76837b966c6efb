#!/usr/bin/env bash
# static_encoder_ranks_nearly_as_its_teacher: dense nDCG@10 on Cranfield with the default distillation and with the corpus'
# own text, both against the teacher's in the same run. Takes minutes of computing.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
data=$MNEME_SHARED_DATA
[ -e "$data/cranfield/corpus.jsonl" ] || { echo "skipped: no ../shared/data"; exit 77; }
ndcg() { # ndcg MODEL
    mneme --set "encoder.model=$1" --store "$work/$1" --quiet index "$data/cranfield/corpus.jsonl" >/dev/null
    mneme --set "encoder.model=$1" --store "$work/$1" eval "$data/cranfield" --mode dense --json |
        sed -n 's/.*"ndcg@10":\([0-9.]*\).*/\1/p'
}
teacher=$(ndcg all-MiniLM-L6-v2)
if [ -n "${MNEME_TEST_LONG:-}" ]; then
    expect 0 mneme model distill --static fitted --text "$data/cranfield/corpus.jsonl" # takes minutes
    floor=0.85
else
    expect 0 mneme model distill --static fitted --rounds 0
    floor=0.60 # plain Model2Vec, without the fit (docs/static-encoder.md)
fi
fitted=$(ndcg fitted)
awk -v t="$teacher" -v s="$fitted" -v f="$floor" 'BEGIN { printf "teacher %s, fitted %s: %.3f of it\n", t, s, s / t; exit !(s >= f * t) }' ||
    fail "below $floor of the teacher"
echo "passed"
