#!/usr/bin/env bash
# mneme embed and model.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model

# Lines in, JSON lines out, in order; the same text gives the same vector.
printf 'first line\nsecond line\n\nfirst line\n' >lines.txt
expect 0 mneme embed lines.txt
[ "$(wc -l <"$work/out")" -eq 4 ] || fail "one vector a line"
json '(.vector | length) == 384'
[ "$(sed -n 1p "$work/out")" = "$(sed -n 4p "$work/out")" ] || fail "equal texts, unequal vectors"
[ "$(sed -n 1p "$work/out")" != "$(sed -n 2p "$work/out")" ] || fail "unequal texts, equal vectors"
cp "$work/out" lines.out
expect_input 0 lines.txt mneme embed
cmp -s "$work/out" lines.out || fail "standard input gives something else"
expect_input 0 lines.txt mneme embed - --query
expect 0 mneme embed lines.txt --output lines.jsonl
cmp -s lines.jsonl lines.out || fail "the file differs from stdout"

# JSONL: ids go along, broken lines are named.
printf '{"_id":"q1","text":"first line"}\n{"_id":"q2"\n\n{"id":"q3","text":"second line"}\n' >in.jsonl
expect 3 mneme embed in.jsonl
err "in.jsonl:2:"
json '.id == "q1" or .id == "q3"'
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "two of three"
expect_input 3 in.jsonl mneme embed
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "JSONL on standard input"
expect 0 mneme embed in.jsonl --format lines
[ "$(wc -l <"$work/out")" -eq 4 ] || fail "as lines"
expect 3 mneme embed nowhere.txt
err "nowhere.txt"

# .npy: magic, version, header of 118 bytes, rows of 384 little-endian floats; the first number is that of the JSON.
expect 0 mneme embed lines.txt --output lines.npy
err "4 vectors of 384 floats"
[ "$(head -c 8 lines.npy | od -An -tx1 | tr -d ' \n')" = "934e554d50590100" ] || fail "magic and version"
[ "$(head -c 10 lines.npy | tail -c 2 | od -An -tu2 | tr -d ' ')" = 118 ] || fail "header length"
head -c 128 lines.npy | grep -aq "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 384), }" || fail "header"
[ "$(stat -c %s lines.npy)" -eq $((128 + 4 * 384 * 4)) ] || fail "size"
first=$(sed -n 's/^{"vector":\[\([^,]*\),.*/\1/p' lines.out | head -n 1)
from_npy=$(tail -c +129 lines.npy | head -c 4 | od -An -tf4 | tr -d ' \n')
awk -v a="$first" -v b="$from_npy" 'BEGIN { d = a - b; exit !(d < 1e-6 && d > -1e-6) }' || fail "$first is not $from_npy"
[ ! -e lines.npy.part ] || fail "something is left behind"
expect 0 mneme embed /dev/null --output none.npy
grep -aq "'shape': (0, 384)" none.npy || fail "no rows"
expect 4 mneme embed lines.txt --output nowhere/x.npy

# Other types and fewer numbers: header and size of .npy, raw files, JSON numbers.
header() { head -c 128 "$1" | grep -aqF "'descr': '$2', 'fortran_order': False, 'shape': (4, $3), }" || fail "header of $1"; }
expect 0 mneme embed lines.txt --type f16 -o half.npy
header half.npy '<f2' 384
[ "$(stat -c %s half.npy)" -eq $((128 + 4 * 384 * 2)) ] || fail "size of half.npy"
expect 0 mneme embed lines.txt --type int8 --dim 100 -o bytes.npy
header bytes.npy '|i1' 100
expect 0 mneme embed lines.txt -o bytes.int8 --dim 100
tail -c +129 bytes.npy | cmp -s - bytes.int8 || fail "raw int8 differs"
expect 0 mneme embed lines.txt --type ubinary --dim 20 -o bits.npy
header bits.npy '|u1' 3
expect 0 mneme embed lines.txt --type binary -o signed.npy
header signed.npy '|i1' 48
expect 0 mneme embed lines.txt --type ubinary
sed -n 's/^{"vector":\[\(.*\)\]}$/\1/p' "$work/out" | tr ',' '\n' >bits.numbers
tail -c +129 signed.npy | od -An -v -td1 -w1 | awk '{ print $1 + 128 }' | cmp -s - bits.numbers || fail "binary is ubinary less 128"
# A bit is the sign of the number.
sed -n 1p lines.out | sed 's/^{"vector":\[\(.*\)\]}$/\1/' | tr ',' '\n' |
    awk '{ byte = byte * 2 + ($1 > 0) } NR % 8 == 0 { print byte; byte = 0 }' | cmp -s - <(head -n 48 bits.numbers) || fail "bits are not the signs"
expect 0 mneme embed lines.txt --dim 2
awk -F'[][,]' '{ s = $2 * $2 + $3 * $3; if (NF != 4 || s < 0.99999 || s > 1.00001) exit 1 }' "$work/out" || fail "--dim 2 is not of unit length"
expect 0 mneme embed lines.txt -o lines.f32
tail -c +129 lines.npy | cmp -s - lines.f32 || fail "raw f32 differs"
expect 2 mneme embed lines.txt --dim 0
err "1 to 384"
expect 2 mneme embed lines.txt --dim 385
err "1 to 384"
expect 2 mneme embed lines.txt --type f16 -o x.f32
expect 2 mneme embed lines.txt -o x.txt
err ".npy, .jsonl"
expect 2 mneme embed lines.npy -o lines.npy
err "one of the inputs"

# --strict: one line that is refused, and nothing is written.
expect 3 mneme embed lines.txt in.jsonl --strict -o strict.npy
err "in.jsonl:2:"
[ ! -e strict.npy ] && [ ! -e strict.npy.part ] && [ ! -e strict.npy.part.state ] || fail "--strict wrote something"
expect 3 mneme embed in.jsonl --strict
silent
expect_input 3 in.jsonl mneme embed --strict -o strict.npy
[ ! -e strict.npy ] && [ ! -e strict.npy.part ] || fail "--strict wrote something from standard input"
expect_input 2 in.jsonl mneme embed --strict
err "needs --output"
expect 0 mneme embed lines.txt --strict
cmp -s "$work/out" lines.out || fail "--strict changes the output"

# model: what there is, what it is, adding one.
expect 0 mneme model list --json
json '[.models[] | select(.in_use) | .name] == ["all-MiniLM-L6-v2"]'
expect 0 mneme model info --json
json '.name == "all-MiniLM-L6-v2" and .dimension == 384 and .kind == "transformer" and (.precision | IN("bf16", "int16", "f32")) and (.reason | length) > 0 and .layers == 6 and .max_tokens > 0'
json '.why["encoder.model"] | test("default")'
expect 0 mneme model info
out "all-MiniLM-L6-v2"
out "encoder.precision"
expect 2 mneme model info no-such-model
err "no-such-model"
mkdir bad && cp "$XDG_CACHE_HOME"/mneme/models/all-MiniLM-L6-v2/*.json "$XDG_CACHE_HOME"/mneme/models/all-MiniLM-L6-v2/vocab.txt bad/
head -c 1000 "$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2/model.safetensors" >bad/model.safetensors
expect 2 mneme model info ./bad
err "model.safetensors"
expect 2 mneme model add bad
[ ! -e "$XDG_DATA_HOME/mneme/models/bad" ] || fail "a broken model was added"
expect 0 mneme model add "$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2" --name mine
[ -f "$XDG_DATA_HOME/mneme/models/mine/model.safetensors" ] || fail "the model was not copied"
expect 0 mneme model info mine --json
json '.name == "mine" and .dimension == 384'
expect 2 mneme model add "$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2" --name mine
err "already"
expect 2 mneme model add nowhere

# A model in its place does not keep the user's own store from being made beside it.
expect 0 mneme add "a note" --id n
expect 0 mneme get n
echo "passed"
