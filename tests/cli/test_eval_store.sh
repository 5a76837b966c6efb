#!/usr/bin/env bash
# eval of a store: windows beside plain ones, sweeps, halves, topics, comparison with a run, pictures.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"
mkdir -p "$work/beir/qrels"
cd "$work"
cat >corpus.jsonl <<'END'
{"_id":"d1","text":"The bridge over the river was built of stone."}
{"_id":"d2","text":"In spring the river is wide and brown."}
{"_id":"d3","text":"A baker sells bread and cakes in the market."}
{"_id":"d4","text":"The market is held on Mondays by the town hall."}
{"_id":"d5","text":"Wolves were seen near the forest in winter."}
{"_id":"d6","text":"The spare key lies under the third flower pot.","namespace":"home"}
END
cat >beir/queries.jsonl <<'END'
{"_id":"q1","text":"which bridge crosses the river?"}
{"_id":"q2","text":"who sells bread?"}
{"_id":"q3","text":"when is the market held?"}
{"_id":"q4","text":"where is the spare key?","namespace":"home"}
{"_id":"q5","text":"are there wolves?"}
END
printf 'query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t1\nq3\td4\t1\nq4\td6\t1\nq5\td5\t1\nq5\tgone\t1\nq9\td1\t1\n' >beir/qrels/test.tsv
expect 0 mneme init --store "$MNEME_STORE"
expect 0 mneme index corpus.jsonl

# Windows: each text is 8 to 11 tokens, so that 4 tokens hold none of them and 1,000 hold all.
expect 0 mneme eval beir --context 1000,4 --baseline --json --svg window.svg
json '.queries == 5 and ."context_recall@4" == 0 and ."plain_context_recall@4" == 0'
json '."context_recall@1000" == 0.9 and ."plain_context_recall@1000" == 0.9' # q5: one of its two is in no store
json '."recall@10" == 0.9 and .p50_ms > 0'
err "1 judged question has no text"
err "1 of 6 relevant records are not in the store and count as missed"
grep -q 'spliced window' window.svg && grep -q 'plain window' window.svg || fail "window.svg"
# The nearest record alone fits 12 tokens of a plain window: it is the right one of each question.
expect 0 mneme eval beir --context 12 --baseline --json
json '."plain_context_recall@12" == 0.9'
expect 0 mneme eval beir --context 12 --baseline --mode lexical
out "plain_context_recall@12"

# Without namespaces in the questions, relevant records are found in any of them.
sed 's/,"namespace":"home"//' beir/queries.jsonl >topics.jsonl
expect 0 mneme eval --topics topics.jsonl --qrels beir/qrels/test.tsv --context 1000 --json
json '."context_recall@1000" == 0.9'

# Questions in other forms say the same.
expect 0 mneme eval beir --json --measures mrr,recall@10
sed 's/,"p50_ms.*//' "$work/out" >expected
printf 'q1\twhich bridge crosses the river?\nq2\twho sells bread?\nq3\twhen is the market held?\nq4\twhere is the spare key?\nq5\tare there wolves?\n' >topics.tsv
{
    echo '<top><num> Number: q1 <title> Topic: which bridge crosses'
    echo '  the river?'
    echo '<desc> Description: which? </top>'
    for line in 'q2:who sells bread?' 'q3:when is the market held?' 'q4:where is the spare key?' 'q5:are there wolves?'; do
        printf '<top>\n<num>%s</num>\n<title>%s</title>\n</top>\n' "${line%%:*}" "${line#*:}"
    done
} >topics.trec
for topics in topics.jsonl topics.tsv topics.trec; do
    expect 0 mneme eval --topics $topics --qrels beir/qrels/test.tsv --json --measures mrr,recall@10
    [ "$(sed 's/,"p50_ms.*//' "$work/out")" = "$(cat expected)" ] || fail "$topics"
done

# A run of the store, scored and compared with the store, is the store's own.
expect 0 mneme eval beir --run a.run --per-query a.jsonl --json
sed 's/,"p50_ms.*/}/' "$work/out" >expected
expect 0 mneme eval beir --score a.run --json
[ "$(cat "$work/out")" = "$(cat expected)" ] || fail "--score of the store's own run"
[ "$(grep -c took_ms a.jsonl)" = 5 ] || fail "a.jsonl"
expect 0 mneme eval beir --compare a.run --json
json '.b == "the store" and ([.measures[] | .p == 1 and .equal == 5] | all)'

# Halves and sweeps.
expect 0 mneme eval beir --halves --json
json '.tune.queries + .held_out.queries == 5 and .tune.p50_ms >= 0'
expect 0 mneme eval beir --halves
out "held out"
expect 0 mneme eval beir --sweep retrieval.dense_weight=0,1 --sweep retrieval.candidates=1,5 -k 1 --json --svg sweep.svg --halves --measures mrr,success@1
json '.sweep | length == 4'
json '[.sweep[].settings["retrieval.dense_weight"]] == ["0","0","1","1"] and [.sweep[].settings["retrieval.candidates"]] == ["1","5","1","5"]'
json '.sweep | all(.queries == 5 and .tune.queries + .held_out.queries == 5 and .p50_ms > 0)'
json '.best | .measure == "mrr" and has("held_out")'
grep -q 'retrieval.dense_weight=1' sweep.svg || fail "sweep.svg"
[ "$(grep -c '<circle' sweep.svg)" = 4 ] || fail "sweep.svg: four points"
expect 0 mneme eval beir --sweep retrieval.mode=hybrid,dense,lexical --measures mrr
out "best mrr:"
[ "$(grep -c '^lexical \|^dense \|^hybrid ' "$work/out")" = 3 ] || fail "three rows"
if command -v python3 >/dev/null 2>&1; then
    for picture in window.svg sweep.svg; do
        python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' $picture || fail "$picture is no XML"
    done
fi

# A sweep is refused as a whole, before a question is asked.
expect 2 mneme eval beir --sweep retrieval.dense_weight=0.5,7
err "retrieval.dense_weight"
silent
expect 2 mneme eval beir --sweep retrieval.dense_wait=0.5
err "retrieval.dense_weight"
for bad in retrieval.k =1 retrieval.k= retrieval.k=1,,2; do expect 2 mneme eval beir --sweep $bad; done
expect 2 mneme eval beir --sweep retrieval.k=1,2 --sweep retrieval.k=3
expect 2 mneme eval beir --sweep retrieval.k=1,2 --run a.run
expect 2 mneme eval beir --svg x.svg
expect 2 mneme eval beir --svg x.svg --context 100
expect 2 mneme eval beir --baseline
for bad in "" 0 x 1,,2; do expect 2 mneme eval beir --context "$bad"; done
expect 4 mneme eval beir --svg "$work/none/x.svg" --context 10,20
err "cannot write $work/none/x.svg"

# Malformed questions: the file and the line.
refuse() { # refuse TEXT CONTENT
    printf "$2" >bad
    expect 2 mneme eval --topics bad --qrels beir/qrels/test.tsv
    err "bad:$1"
}
refuse "2: a question needs _id and text" '{"_id":"q1","text":"x"}\n{"_id":"q2"}\n'
refuse "1: " '{"_id":"q1","text":\n'
refuse "2: a question is an id, a tab and its text" 'q1\tx\nq2 y\n'
refuse "3: <top> without </top>" '<top><num>q1<title>x</top>\n\n<top><num>q2<title>y\n'
refuse "2: a topic needs <num> and <title>" '\n<top><num>q1</top>\n'
: >bad
expect 2 mneme eval --topics bad --qrels beir/qrels/test.tsv
err "no question has a relevant record"
expect 2 mneme eval --topics none --qrels beir/qrels/test.tsv
err "cannot open none"
printf '{"_id":"q1","text":"bridge"}\n{"_id":"q1","text":"bread"}\n' >twice.jsonl
expect 0 mneme eval --topics twice.jsonl --qrels beir/qrels/test.tsv --json --measures mrr
err "1 question has an id that came before"
json '.queries == 1 and .mrr == 1'
echo passed
