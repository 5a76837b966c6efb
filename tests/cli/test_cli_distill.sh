#!/usr/bin/env bash
# mneme model distill: the real model's vocabulary, plain (no made-up texts), so that it takes seconds.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
models="$XDG_DATA_HOME/mneme/models"
left_behind() { find "$models" "$work/here" -maxdepth 1 \( -name '*.part-*' -o -name '*.old-*' \) 2>/dev/null | grep . ; }

# Bad usage costs no work.
expect 2 mneme model distill fast
err "--static"
expect 2 mneme model distill --static
expect 2 mneme model distill --static a b
expect 2 mneme model distill --static .hidden
expect 2 mneme model distill --static fast --from no-such-model
err "no-such-model"
expect 2 mneme model distill --static fast --dim 385
err "1 to 384"
expect 2 mneme model distill --static fast --dim 0
expect 2 mneme model distill --static fast --sif 1
err "SIF"
expect 2 mneme model distill --static fast --text nowhere.txt
err "nowhere.txt"
expect 2 mneme model distill --static fast --text nowhere.txt --rounds 2
err "without texts"
printf '{"_id":"1","text":"fine"}\n{"_id":\n' >bad.jsonl
expect 2 mneme model distill --static fast --text bad.jsonl
err "bad.jsonl:2"
[ ! -e "$models/fast" ] || fail "something was made"
mkdir -p notes && echo "my notes" >notes/notes.txt
expect 2 mneme model distill --static ./notes
err "exists already"
expect 2 mneme model distill --static ./notes --force
err "is no model's folder"
[ "$(cat notes/notes.txt)" = "my notes" ] || fail "a folder that is no model was touched"
expect 0 mneme model distill --help
out "--static"

# The model: in place, its kind and origin told, unit vectors, and the same text is nearest to itself.
printf 'The spare key is under the third flower pot.\nHeat flows through the boundary layer.\n' >own.txt
expect 0 mneme model distill --static fast --rounds 0 --dim 64 --json
json '.name == "fast" and .dimension == 64'
json '.distilled_from | test("^all-MiniLM-L6-v2 \\([0-9a-f]{16}\\): 64 of 384 dimensions .*, SIF 0.0001$")'
expect 0 mneme model info fast --json
json '.kind == "static" and .dimension == 64 and .max_tokens == 512 and .layers == 0 and .precision == "f16"'
fingerprint=$(sed -n 's/.*"fingerprint":"\([0-9a-f]*\)".*/\1/p' "$work/out")
expect 0 mneme model info fast
out "made from"
! left_behind || fail "something is left behind"
[ "$(du -sk "$models/fast" | cut -f1)" -lt 35000 ] || fail "over 35 MB"
printf 'The key is under the pot.\n\n\342\230\203\n' >lines.txt
expect 0 mneme --set encoder.model=fast embed lines.txt
[ "$(wc -l <"$work/out")" -eq 3 ] || fail "a vector for each line, the empty and the unknown one too"
json '([.vector[] | . * .] | add) as $length | $length > 0.999 and $length < 1.001'
for kernels in reference avx2; do
    cp "$work/out" first.out
    expect 0 mneme --set encoder.model=fast --set encoder.kernels=$kernels embed lines.txt
    cmp -s "$work/out" first.out || fail "$kernels kernels give other bits"
done
expect 0 mneme --set encoder.model=fast --store st index own.txt
expect 0 mneme --set encoder.model=fast --store st query "where is the key" --mode dense -k 1
out "flower pot"
expect 0 mneme --set encoder.model=fast --store st check
expect 0 mneme --store st query "where is the key" --mode dense
expect 2 mneme --set encoder.model=all-MiniLM-L6-v2 --store st query "where is the key" --mode dense
err "was made with encoder fast"

# Existing is refused; replacing is whole or not at all; no distilling from what is distilled.
expect 2 mneme model distill --static fast --rounds 0
err "exists already"
expect 2 mneme model distill --static faster --from fast
err "static itself"
if [ "$(id -u)" -ne 0 ]; then # root may write anywhere
    chmod a-w "$models"
    expect 4 mneme model distill --static fast --rounds 0 --dim 64 --force
    chmod u+w "$models"
fi
expect 0 mneme model info fast --json
json ".fingerprint == \"$fingerprint\""

# A file size limit stands for a full disk: said, and what was there is as before.
(ulimit -f 2000; trap '' XFSZ; expect 4 mneme model distill --static fast --rounds 0 --dim 64 --force; err "model.safetensors")
! left_behind || fail "something is left behind after a full disk"
expect 0 mneme model info fast --json
json ".fingerprint == \"$fingerprint\""

# A table with a number that is none is refused by its place.
cp -r "$models/fast" broken
size=$(stat -c %s broken/model.safetensors)
printf '\377\377' | dd of=broken/model.safetensors bs=1 seek=$((size - 2)) conv=notrunc 2>/dev/null
expect 2 mneme model info ./broken
err "column 63 is not a finite number"
echo "passed"
