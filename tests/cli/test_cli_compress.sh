#!/usr/bin/env bash
# mneme model quantize, mneme model prune: on the real model.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
models="$XDG_DATA_HOME/mneme/models"
model=all-MiniLM-L6-v2
left_behind() { find "$models" -maxdepth 1 \( -name '*.part-*' -o -name '*.old-*' \) 2>/dev/null | grep . ; }

# Bad usage costs no work.
expect 2 mneme model quantize $model --name small
err "--to int8"
expect 2 mneme model quantize $model --to int4 --name small
expect 2 mneme model quantize $model --to int8
err "--name"
expect 2 mneme model quantize --to int8 --name small
expect 2 mneme model quantize no-such-model --to int8 --name small
err "no-such-model"
expect 2 mneme model prune $model --name small
err "--keep"
for share in 0 1 1.5 -1; do expect 2 mneme model prune $model --keep=$share --name small; done
expect 2 mneme model quantize $model --to int8 --name ../small
expect 2 mneme model quantize $model --to int8 --name small --text nowhere.txt
err "nowhere.txt"
[ ! -e "$models/small" ] || fail "something was made"
expect 0 mneme model quantize --help
out "--to"
expect 0 mneme model prune --help
out "--keep"

# Bytes: about a quarter, near vectors, and it says what it is.
printf '{"_id":"1","text":"The spare key is under the third flower pot."}\n{"_id":"2","text":"Heat flows through the boundary layer."}\n' >own.jsonl
expect 0 mneme model quantize $model --to int8 --name small --text own.jsonl --json
json '.name == "small" and .texts == 2 and .cosine_least > 0.98 and .cosine_least < 1 and .cosine_mean >= .cosine_least'
json '.after.bytes < 0.27 * .before.bytes and .after.tokens_per_s > 0'
expect 0 mneme model info small --json
json '.kind == "transformer" and .compressed == "weights of all-MiniLM-L6-v2 as int8, one scale a row" and .pooling == "mean" and .max_tokens == 256'
expect 2 mneme model quantize $model --to int8 --name small
err "--force"
expect 0 mneme --set encoder.model=small --store st index own.jsonl
expect 0 mneme --set encoder.model=small --store st query "where is the key" --mode dense -k 1
out "flower pot"

# Zeros: as large as before, and a note; as a table.
expect 0 mneme model prune small --keep 0.9 --name pruned --text own.jsonl
out "cosine, least"
expect 0 mneme model info pruned
out "the largest 90 %"
[ "$(stat -c %s "$models/small/model.safetensors")" -eq "$(stat -c %s "$models/pruned/model.safetensors")" ] || fail "another size"
! left_behind || fail "something is left behind"
