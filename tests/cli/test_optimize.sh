#!/usr/bin/env bash
# mneme optimize, what index builds by itself, stats and check about it, and questions that are a vector.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
export MNEME_STORE="$work/store"

# 1,600 records with vectors of 8 numbers, of which the first 1,500 go in at once.
awk 'BEGIN { srand(3); for (i = 0; i < 1600; i++) { printf "{\"id\":\"r%d\",\"text\":\"\",\"vector\":[", i
  for (d = 0; d < 8; d++) printf "%s%.4f", d ? "," : "", rand() - 0.5; print "]}" } }' > "$work/all.jsonl"
head -n 1500 "$work/all.jsonl" > "$work/first.jsonl"
tail -n 100 "$work/all.jsonl" > "$work/rest.jsonl"
small="--set index.min_rows=1000"
ids() { grep -o '"id":"r[0-9]*"' "$1"; }

# A manual store has no index until it is asked for one.
expect 0 mneme import "$work/first.jsonl" $small --set index.build=manual
expect 0 mneme stats --json $small
json '.namespaces[0].index | .kind == "none" and .newer == 1500 and (.reason | contains("mneme optimize"))'
expect 0 mneme stats --json
json '.namespaces[0].index.reason | contains("index.min_rows")'
expect 0 mneme optimize --json
json '.indexes == [.indexes[0]] and .indexes[0].done == "none" and .indexes[0].kind == "none"'
expect 0 mneme optimize --json $small
json '.indexes[0] | .namespace == "" and .done == "built" and .kind == "hnsw" and .covered == 1500 and .newer == 0 and .dead == 0 and .recall >= 0.99 and .bytes > 0'
expect 0 mneme optimize --json $small
json '.indexes[0].done == "kept"'
expect 0 mneme stats
out "hnsw, 1500 chunks"
expect 0 mneme check

# What is newer is scanned beside it, and then taken in; an import that brings little leaves that to optimize.
expect 0 mneme import "$work/rest.jsonl" $small
expect 0 mneme stats --json
json '.namespaces[0].index | .covered == 1500 and .newer == 100'
expect 0 mneme optimize $small
err "extended: hnsw, 1600 chunks"
expect 0 mneme forget r7 r1550
expect 0 mneme stats --json
json '.namespaces[0].index | .covered == 1598 and .dead == 2'
expect 0 mneme check

# A question may be a vector: JSON, .npy or bare floats; the text is not needed.
vector=$(head -n 4 "$work/all.jsonl" | tail -n 1 | sed 's/.*"vector"://; s/}$//')
echo "$vector" > "$work/q.json"
expect 0 mneme query --vector "$work/q.json" --mode dense -k 3 --json
json '.query == "" and (.hits | length) == 3 and .hits[0].id == "r3" and .hits[0].dense > 0.99'
expect_input 0 "$work/q.json" mneme query --vector - --mode dense -k 1 --json
json '.hits[0].id == "r3"'
printf '\000\000\200\077\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000' > "$work/q.f32"
expect 0 mneme query --vector "$work/q.f32" --mode dense -k 2 --json
cp "$work/out" "$work/raw"
header="{'descr': '<f4', 'fortran_order': False, 'shape': (8,), }"
printf '\223NUMPY\001\000\166\000%-117s\n' "$header" > "$work/q.npy"
cat "$work/q.f32" >> "$work/q.npy"
expect 0 mneme query --vector "$work/q.npy" --mode dense -k 2 --json
[ "$(ids "$work/out")" = "$(ids "$work/raw")" ] || fail ".npy and bare floats differ"
echo '[1, "two"]' > "$work/bad.json"
expect 2 mneme query --vector "$work/bad.json"
err "something else than numbers"
printf abc > "$work/bad"
expect 2 mneme query --vector "$work/bad"
err "expected a vector"
expect 2 mneme query --vector "$work/missing"
err "cannot read"
echo '[0, 0, 0, 0, 0, 0, 0, 0]' > "$work/zero.json"
expect 2 mneme query --vector "$work/zero.json" --mode dense
err "length 0"

# Damage is named, and not in the way.
file="$MNEME_STORE/index/1.faiss"
expect 0 mneme query --vector "$work/q.json" --mode dense -k 10 --json
ids "$work/out" > "$work/before"
printf X | dd of="$file" bs=1 seek=2000 conv=notrunc status=none
expect 0 mneme query --vector "$work/q.json" --mode dense -k 10 --json
[ "$(ids "$work/out")" = "$(cat "$work/before")" ] || fail "another answer without the index"
expect 0 mneme stats
out "its file is not used: its graph does not fit its checksum"
expect 1 mneme check
out "mneme optimize"
expect 0 mneme optimize $small
err "built: hnsw, 1598 chunks"
expect 0 mneme check

# After compact it is built again; with --kind none it goes.
expect 0 mneme compact
expect 0 mneme stats
out "compacted"
expect 0 mneme optimize --kind hnsw-f32 --recall 0.95
err "built: hnsw-f32"
expect 0 mneme optimize --kind none --json
json '.indexes[0].done == "removed" and .indexes[0].kind == "none"'
[ ! -e "$file" ] || fail "the file is still there"
expect 2 mneme optimize --kind flat
err "no index of kind"
expect 2 mneme optimize --recall 1
expect 1 mneme optimize --namespace elsewhere

# A large import builds it at its end.
export MNEME_STORE="$work/second"
expect 0 mneme import "$work/all.jsonl" $small
expect 0 mneme stats --json
json '.namespaces[0].index | .kind == "hnsw" and .covered == 1600'

# A backup has none, and makes its own.
expect 0 mneme backup "$work/copy"
[ ! -e "$work/copy/index" ] || fail "the backup has an index"
expect 0 mneme --store "$work/copy" optimize $small
err "built: hnsw, 1600 chunks"
