#!/usr/bin/env bash
# mneme reindex: what it says, its exit codes, and kill -9 and Ctrl-C at several moments, after which the same command goes
# on and ends in the store that a fresh one is. MNEME_TEST_LONG=1: many more moments.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
export MNEME_CLOCK_NOW=2026-01-01T00:00:00Z MNEME_INDEX_BUILD=manual MNEME_MEMORY_IMPORTANCE=fixed
export MNEME_MEMORY_STRENGTHEN=off
env --default-signal=INT true 2>/dev/null || { echo "skipped: env cannot reset signals"; exit 77; }
trials=4
[ -z "${MNEME_TEST_LONG:-}" ] || trials=60
models="$XDG_DATA_HOME/mneme/models"
for seed in 7 8; do
    mkdir -p "$models/bert-$seed"
    "$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$models/bert-$seed" "$seed"
done
expect 0 mneme model distill --static table --from bert-7 --dim 20 --rounds 0

# 500 records of 700 bytes; about 14 chunks each for bert-7 and bert-8, to whom every letter is a token.
tr '\n\t\r"\\' '     ' <"$MNEME_SOURCE_DIR/examples/grimms-fairy-tales.txt" | iconv -f utf-8 -t ascii -c | fold -w 700 | head -n 500 |
    awk '{ printf "{\"_id\": \"p%d\", \"session\": \"s%d\", \"text\": \"%s\"}\n", NR, NR % 7, $0 }' >corpus.jsonl
n_records=$(wc -l <corpus.jsonl)
make_store() { rm -rf "$1"; mneme --store "$1" --quiet --set "encoder.model=$2" index corpus.jsonl >made; }
content() { mneme --store "$1" export --vectors; mneme --store "$1" query "the golden bird" --json | sed 's/"took_ms":[0-9.e+-]*,//; s/"generation":[0-9]*,\{0,1\}//'; }
make_store old bert-7
for model in bert-8 table; do
    make_store "fresh-$model" "$model"
    content "fresh-$model" >"fresh-$model.content"
done

# Bad usage, missing things.
expect 2 mneme --store old reindex --encoder no-such-model
err "no-such-model"
expect 2 mneme --store old reindex --encoder ./nowhere
expect 2 mneme --store old reindex extra
expect 2 mneme --store old reindex
err "encoder.model"
expect 4 mneme --store nowhere reindex --encoder table
[ ! -e nowhere ] || fail "a store was made"
expect 0 mneme reindex --help
out "--dry-run"

# What would be done, and the same encoder.
expect 0 mneme --store old reindex --encoder table --dry-run --json
json '.changed == false and .encoder == "table" and .before == "bert-7" and .encoded >= 500 and .ready == 0'
expect 0 mneme --store old stats
out "bert-7"
expect 0 mneme --store old reindex --encoder bert-7
err "of encoder bert-7 already"
[ ! -e old/reindex.vectors ] || fail "a file was left"

# Done: words and JSON, own vectors kept and told, answers of the new encoder without any setting.
cp -r old one
printf '{"_id":"v1","namespace":"given","text":"brought","vector":[1,2,2]}\n' >given.jsonl
expect 0 mneme --store one index given.jsonl
expect 0 mneme --store one reindex --encoder table
err "given: 1 records keep vectors of their own"
err "from bert-7 to table: $n_records records"
no_err "set encoder.model"
expect 0 mneme --store one check
expect 0 mneme --store one query "the golden bird" -n "" --mode dense
expect 0 mneme --store one stats
out "table"
expect 0 mneme --store one --set encoder.model=bert-8 reindex --json
json '.changed and .encoder == "bert-8" and .before == "table" and .kept == [{"namespace":"given","records":1}]'
json '.bytes_after > 0 and .chunks_per_second > 0 and .fingerprint != "" and .dimension == 32'

# An index of the old vectors is not used; one of the new ones is made, as compact does it.
cp -r old indexed
large="--set index.min_rows=1000 --set index.build=auto"
expect 0 mneme --store indexed $large optimize
err "hnsw"
expect 0 mneme --store indexed $large reindex --encoder bert-8
expect 0 mneme --store indexed check
expect 0 mneme --store indexed $large optimize --json
json '.indexes[0].done == "kept" and .indexes[0].newer == 0 and .indexes[0].dead == 0'
expect 0 mneme --store indexed query "the golden bird" --mode dense -k 1

# A setting that names the old encoder: said in one line, here and by questions.
cp -r old bound
echo "encoder.model: bert-7" >bound/mneme.yaml
expect 0 mneme --store bound reindex --encoder table
err "set encoder.model: table (it is bert-7, "
expect 2 mneme --store bound query "the golden bird"
err "set encoder.model"
mkdir elsewhere
cp -r "$models/bert-8" elsewhere/hidden # not in encoder.path
cp -r old path
expect 0 mneme --store path reindex --encoder elsewhere/hidden
err "to ask it, set encoder.model: elsewhere/hidden"
expect 0 mneme --store path --set encoder.model=elsewhere/hidden query "the golden bird" -k 1

# Killed and stopped.
started=$(date +%s%N)
cp -r old whole
expect 0 mneme --store whole reindex --encoder bert-8
took=$((($(date +%s%N) - started) / 1000000))
content whole | cmp - fresh-bert-8.content || fail "not what a fresh store is"
for trial in $(seq "$trials"); do
    rm -rf killed
    cp -r old killed
    for signal in KILL INT KILL; do
        delay=$((took * (RANDOM % 100 + 2) / 100))
        env --default-signal=INT mneme --store killed reindex --encoder bert-8 >/dev/null 2>"$work/err" &
        child=$!
        sleep "$(awk -v ms="$delay" 'BEGIN { print ms / 1000 }')"
        kill -s "$signal" "$child" 2>/dev/null || true
        code=0
        wait "$child" 2>/dev/null || code=$?
        case "$signal $code" in KILL\ 137 | INT\ 130 | *\ 0) ;; *) fail "$signal after $delay ms: exit $code" ;; esac
        expect 0 mneme --store killed check
        echo "trial $trial: $signal after $delay ms, exit $code: $(stat -c %s killed/reindex.vectors 2>/dev/null || echo no) bytes ready"
    done
    expect 0 mneme --store killed reindex --encoder bert-8
    content killed | cmp - fresh-bert-8.content || fail "trial $trial: not what a fresh store is"
    [ ! -e killed/reindex.vectors ] || fail "a file was left"
done

# Writers of other processes meanwhile: everything that they were told is stored is there.
cp -r old shared
mneme --store shared reindex --encoder bert-8 >/dev/null 2>reindex.err &
child=$!
added=0
while kill -0 "$child" 2>/dev/null; do
    expect 0 mneme --store shared add --id "extra$added" "The golden bird number $added sat in the tree."
    added=$((added + 1))
done
wait "$child" || fail "reindex: $(cat reindex.err)"
expect 0 mneme --store shared check
expect 0 mneme --store shared stats --json
json ".records == $((n_records + added)) and .encoder == \"bert-8\""
echo "$added records were added meanwhile"

# The real model, where it is.
[ -f "$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2/model.safetensors" ] || exit 0
expect 0 mneme --store small --set encoder.model=bert-7 add --id key "The spare key is under the third flower pot."
expect 0 mneme --store small add --id dog "The dog eats twice a day."
expect 0 mneme --store small reindex --encoder all-MiniLM-L6-v2
expect 0 mneme --store small query "how do I get into the house when I am locked out?" -k 1 --mode dense --json
json '.hits[0].id == "key"'
expect 0 mneme --store small reindex --encoder table
expect 0 mneme --store small check
