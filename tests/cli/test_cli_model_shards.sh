#!/usr/bin/env bash
# Models whose weights are in several files: add, list, info, embed, and pull from a hub on this machine.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
. "$MNEME_SOURCE_DIR/tests/cli/hub_support.sh"
hub_start
whole=$work/whole tiny=$work/tiny
mkdir "$whole" "$tiny"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$whole" 7
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$tiny" 7 3
[ ! -e "$tiny/model.safetensors" ] || fail "the weights are in one file"
second=model-00002-of-00003.safetensors
again() { rm -rf "$models/tiny" "$models/.pull"; hub_rules_end; }
same_shards() { for file in "$tiny"/model*; do cmp "$file" "$models/tiny/$(basename "$file")"; done; }

# The same vectors as of one file, to the byte.
echo "a cab" >lines.txt
expect 0 mneme embed lines.txt --set encoder.model="$whole/"
cp "$work/out" from_whole
expect 0 mneme embed lines.txt --set encoder.model="$tiny/"
cmp "$work/out" from_whole || fail "shards give other vectors"

# add, list, info.
expect 0 mneme model add "$tiny"
same_shards
expect 0 mneme embed lines.txt --set encoder.model=tiny
cmp "$work/out" from_whole
expect 0 mneme model info tiny --json
json '.dimension == 32'
expect 0 mneme model list --json
json '.models[] | select(.name == "tiny") | .weights'
rm "$models/tiny/$second"
expect 0 mneme model list --json
json '.models[] | select(.name == "tiny") | .weights | not'
expect 2 mneme embed lines.txt --set encoder.model=tiny
err "$second is missing; model.safetensors.index.json names it"
expect 2 mneme model add "$models/tiny" --name other
err "$second"
expect 0 mneme model quantize "$tiny" --to int8 --name small
expect 0 mneme embed lines.txt --set encoder.model=small
rm -rf "$models/small"

# pull: the index, then every shard, each with its checksum.
hub_publish org/tiny "$tiny"
again
expect 0 mneme model pull org/tiny --json
json '[.files[] | select(.checked == "sha256") | .name] | length == 3'
json '[.files[] | .name] | index("model.safetensors.index.json") != null'
json '.received == .bytes'
same_shards
nothing_left
expect 0 mneme embed lines.txt --set encoder.model=tiny
cmp "$work/out" from_whole || fail "the pulled model encodes differently"

# Broken off inside the second shard: the same command goes on, and asks for nothing that it has.
again
hub_rule wrong "cdn/org/tiny/$second" 5000
expect 4 mneme model pull org/tiny
err "$second has the sha256"
nothing_in_place tiny
hub_rules_end
expect 0 mneme model pull org/tiny --json
json '[.files[] | select(.received > 0) | .name] | index("model-00001-of-00003.safetensors") == null'
not_asked model-00001-of-00003.safetensors
asked "$second"
same_shards
nothing_left

# An index that names what the hub does not list, or what lies elsewhere: one line, nothing kept, no weights asked for.
for bad in model-00009-of-00009.safetensors ../../escaped.safetensors /tmp/escaped.safetensors .hidden.safetensors notes.txt; do
    cp -R "$tiny/." "$work/bad.$$/" 2>/dev/null || { mkdir "$work/bad.$$" && cp -R "$tiny/." "$work/bad.$$/"; }
    sed -i "0,/model-00001-of-00003.safetensors/s||$bad|" "$work/bad.$$/model.safetensors.index.json"
    hub_publish org/bad "$work/bad.$$"
    again
    expect 2 mneme model pull org/bad
    err "$bad"
    err "model.safetensors.index.json"
    [ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"
    not_asked cdn
    nothing_in_place bad
done
echo "{}" >"$work/bad.$$/model.safetensors.index.json"
hub_publish org/bad "$work/bad.$$"
expect 2 mneme model pull org/bad
err "weight_map"

# A tensor that its shard lacks is found when all is there, and nothing is put in place.
cp "$tiny/model.safetensors.index.json" "$work/bad.$$/"
sed -i 's|"weight_map": {|&"more": "model-00001-of-00003.safetensors",|' "$work/bad.$$/model.safetensors.index.json"
hub_publish org/bad "$work/bad.$$"
expect 2 mneme model pull org/bad
err "tensor more"
nothing_in_place bad
echo "passed"
