#!/usr/bin/env bash
# eval without a store: TREC runs are scored and compared, in all forms of judgements; what is malformed is named.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
data=$MNEME_SOURCE_DIR/tests/data/eval
mkdir -p "$work/f/qrels" && cd "$work/f"

# The figures of a whole run are the means of trec_eval's (tests/data/eval/make_runs.py).
measures=ndcg@10,ndcg,map,map@10,mrr,mrr@10,recall@100,precision@10,success@5
expect 0 mneme eval --qrels "$data/ties.qrels" --score "$data/ties.run" --measures $measures --json
err "no answer to 5 of 35 judged questions; they count 0"
err "5 of its 35 questions are not judged"
cp "$work/out" "$work/scored"
if command -v jq >/dev/null 2>&1; then
    for name in ${measures//,/ }; do
        [ "$(jq ".\"$name\" * 1e5 | round" "$work/scored")" = "$(jq -s "[.[].\"$name\"] | add / length * 1e5 | round" "$data/ties.jsonl")" ] ||
            fail "$name"
    done
fi
json '.queries == 35 and (has("p50_ms") | not)'

# By hand: two questions, one relevant record at rank 2, and one at rank 1 of two relevant ones.
printf 'query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t2\nq2\td9\t1\nq3\td1\t0\n' >qrels/test.tsv
printf 'q2 0 d1 2\r\nq1 0 d2 1\r\n\r\nq2\t0\td9\t1\n' >trec.qrels
printf 'q1 Q0 d1 1 0.9 x\nq1 Q0 d2 2 0.8 x\nq2 Q0 d1 1 7 x\nq2 Q0 d3 2 6 x\n' >a.run
printf 'q1 Q0 d1 1 0.5 y\nq1 Q0 d2 2 0.8 y\nq2 Q0 d9 2 6 y\nq2 Q0 d1 1 7 y\n' >b.run
for judged in "." "--qrels trec.qrels" "--qrels qrels/test.tsv" ". --qrels trec.qrels"; do
    expect 0 mneme eval $judged --score a.run --measures mrr,recall@10,precision@2,success@1,map --json
    json '.queries == 2 and .mrr == 0.75 and ."recall@10" == 0.75 and ."precision@2" == 0.5 and ."success@1" == 0.5 and .map == 0.5'
done
expect 0 mneme eval . --score a.run
out "ndcg@10"
out "recall@100"
no_out "p50_ms"

# Each question.
expect 0 mneme eval . --score a.run --per-query - --measures mrr,success@1
[ "$(cat "$work/out")" = '{"query":"q1","mrr":0.5,"success@1":0.0}
{"query":"q2","mrr":1.0,"success@1":1.0}' ] || fail "--per-query -"
err "queries"
expect 0 mneme eval . --score a.run --per-query q.tsv --measures mrr,success@1
[ "$(cat q.tsv)" = "$(printf 'query\tmrr\tsuccess@1\nq1\t0.5\t0\nq2\t1\t1')" ] || fail "--per-query q.tsv"
out "queries"
expect 0 mneme eval . --score a.run --per-query - --measures mrr --json
[ "$(wc -l <"$work/out")" = 3 ] || fail "lines and the summary"
expect 4 mneme eval . --score a.run --per-query "$work/none/q.tsv"
err "cannot write $work/none/q.tsv"

# Comparison: one question better in one way, the other in no way; of four swappings, two differ as much.
expect 0 mneme eval . --compare a.run b.run --measures mrr,recall@10,map --json
json '.queries == 2 and .seed == 1 and .permutations == 100000'
json '.measures.mrr | .a == 0.75 and .b == 1 and .difference == 0.25 and .p == 1 and .exact and .better == 1 and .worse == 0 and .equal == 1'
json '.measures["recall@10"] | .better == 1 and .equal == 1'
json '.measures.map | .b == 1 and .better == 2 and .p == 0.5'
expect 0 mneme eval --qrels trec.qrels --compare b.run --compare a.run --measures mrr --json
json '.measures.mrr | .worse == 1 and .difference == -0.25'
expect 0 mneme eval . --compare a.run --score b.run --per-query q.tsv --measures mrr
[ "$(sed -n 1,2p q.tsv)" = "$(printf 'query\ta.mrr\tb.mrr\nq1\t0.5\t1')" ] || fail "--per-query of a comparison"
out "seed 1"
expect 0 mneme eval --qrels "$data/ties.qrels" --compare "$data/ties.run" "$data/ties.run" --json --quiet
json '[.measures[].p] | all(. == 1)'

# Ids with spaces stand in columns parted by tabs.
printf 'my q\tmy doc\t1\n' >tabs.qrels
printf 'my q\tQ0\tmy doc\t1\t1\tx\n' >tabs.run
expect 0 mneme eval --qrels tabs.qrels --score tabs.run --json
json '.map == 1'

# Bad input: the file, the line, and what is wrong.
refuse() { # refuse TEXT RUN-LINE
    printf "$2" >bad.run
    expect 2 mneme eval . --score bad.run
    err "bad.run:$1"
}
refuse "2: a line of a TREC run is" 'q1 Q0 d1 1 0.9 x\nq1 Q0 d2 2 0.8\n'
refuse '1: the score "high" is no finite number' 'q1 Q0 d1 1 high x\n'
refuse '1: the score "nan" is no' 'q1 Q0 d1 1 nan x\n'
refuse '1: the score "1e999" is no' 'q1 Q0 d1 1 1e999 x\n'
refuse "3: record d1 comes twice for question q1 (line 1 has it, too)" 'q1 Q0 d1 1 0.9 x\nq1 Q0 d2 2 0.8 x\nq1 Q0 d1 3 0.7 x\n'
refuse "2: a line of a TREC run is" 'q1 Q0 d1 1 0.9 x\nq1 Q0 d\0002 2 0.8 x\n'
: >empty.run
expect 0 mneme eval . --score empty.run --json
json '.map == 0'
err "no answer to 2 of 2"
expect 2 mneme eval . --score nowhere.run
err "cannot open nowhere.run"
expect 2 mneme eval . --score qrels
for line in 'q1\td1\n' 'q1\td1\tgood\n' 'q1 0 d1 1.5\n' 'q1 0 d1 99999999999\n' 'a b c d e\n' 'q1 0 d\0001 1\n'; do
    printf "q1\td1\t1\n$line" >bad.qrels
    expect 2 mneme eval --qrels bad.qrels --score a.run
    err "bad.qrels:2: a judgement is"
done
: >empty.qrels
expect 2 mneme eval --qrels empty.qrels --score a.run
err "no question has a relevant record in empty.qrels"
printf 'q1\td1\t1\nq1\td1\t0\nq1\td2\t1\n' >twice.qrels
expect 0 mneme eval --qrels twice.qrels --score a.run --json --measures mrr
err "1 judgement"
json '.mrr == 0.5'
expect 2 mneme eval . --split train --score a.run
err "qrels/train.tsv"

# Bad usage.
expect 2 mneme eval --score a.run
expect 2 mneme eval . --score a.run --measures ndgc@10
err 'there are ndcg@k'
expect 2 mneme eval . --compare a.run b.run --score a.run
expect 2 mneme eval . --compare a.run --compare b.run --compare a.run
expect 2 mneme eval . --score a.run --context 100
expect 2 mneme eval . --compare a.run b.run --permutations 0
expect 2 mneme eval . qrels --score a.run
echo passed
