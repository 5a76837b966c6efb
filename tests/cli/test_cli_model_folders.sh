#!/usr/bin/env bash
# mneme model list, info and add: what there is, and putting a folder of one's own there.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
export XDG_CACHE_HOME="$work/home/cache" # no model but those of this test
models=$XDG_DATA_HOME/mneme/models
tiny=$work/tiny
mkdir -p "$tiny/1_Pooling"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$tiny" 7
echo '{"pooling_mode_cls_token": true}' >"$tiny/1_Pooling/config.json"
cp -R "$tiny" "$work/second"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$work/second" 8
nothing_left() { [ -z "$(find "$models" -mindepth 1 -maxdepth 1 -name '*.part*' -o -name '*.old*')" ] || fail "left behind in $models"; }

# Nothing there: the answer is no, with what to do.
expect 1 mneme model list
err "model pull"
expect 1 mneme model list --json
json '.models == []'

# add copies, and the copy lives on its own.
expect 0 mneme model add "$tiny" --json
json ".name == \"tiny\" and .path == \"$models/tiny\" and .link == false"
cmp "$tiny/model.safetensors" "$models/tiny/model.safetensors"
cmp "$tiny/1_Pooling/config.json" "$models/tiny/1_Pooling/config.json"
[ ! -L "$models/tiny" ] || fail "a link"
expect 2 mneme model add "$work/second" --name tiny
err "--force"
cmp -s "$tiny/model.safetensors" "$models/tiny/model.safetensors" || fail "it was replaced"
expect 0 mneme model add "$work/second" --name tiny --force
cmp "$work/second/model.safetensors" "$models/tiny/model.safetensors"
nothing_left

# --link: the folder itself; replacing or removing the link leaves it as it is.
expect 0 mneme model add "$tiny" --name linked --link --json
json '.link == true'
[ "$(readlink "$models/linked")" = "$tiny" ] || fail "not a link to $tiny"
expect 0 mneme model info linked
expect 0 mneme model add "$work/second" --name linked --force
[ ! -L "$models/linked" ] && [ -f "$tiny/model.safetensors" ] || fail "the link's folder was touched"
(cd "$work" && expect 0 mneme model add tiny --name linked --link --force)
[ -L "$models/linked" ] || fail "not a link"
nothing_left

# A model cannot be made from itself.
expect 2 mneme model add "$tiny" --name linked --link --force
expect 2 mneme model add "$models/tiny" --force
err "already"
[ -f "$models/tiny/model.safetensors" ] || fail "the model is gone"

# What does not load is refused, also over one that does; a dangling link is no model.
cp -R "$tiny" "$work/broken"
echo '{"model_type": "gpt2"}' >"$work/broken/config.json"
expect 2 mneme model add "$work/broken" --name tiny --force
err "gpt2"
cmp "$work/second/model.safetensors" "$models/tiny/model.safetensors"
for bad in "" . .. a/b .hidden "$(printf 'a\nb')"; do expect 2 mneme model add "$tiny" --name "$bad"; done
expect 2 mneme model add nowhere
expect 2 mneme model add
expect 2 mneme model add "$tiny" --revision main
expect 2 mneme model
expect 2 mneme model lost
expect 2 mneme model info a b
ln -s "$work/nowhere" "$models/dangling"
mkdir "$models/.pull" "$models/empty"

# list: what config.json says, the size on disk, the one in use.
expect 0 mneme model list --json --set encoder.model=tiny
json '[.models[].name] == ["linked", "tiny"] and ([.models[] | select(.in_use) | .name] == ["tiny"])'
json 'all(.models[]; .dimension == 32 and .kind == "bert" and .weights)'
json "[.models[].link] == [true, false] and ([.models[].bytes] | unique == [$(find "$tiny" -type f -printf '%s\n' | awk '{n += $1} END {print n}')])"
expect 0 mneme model list --set encoder.model=tiny
out "* tiny"
out "32 floats"
out "(link)"
expect 0 mneme model list --set encoder.model="$models/linked/" --json
json '[.models[] | select(.in_use) | .name] == ["linked"]'
expect 0 mneme model list
err "encoder.model"
mkdir "$models/half" && echo '{"model_type": 7, "hidden_size": "x"}' >"$models/half/config.json"
mkdir "$models/odd" && echo 'not JSON' >"$models/odd/config.json"
expect 0 mneme model list --json
json '[.models[] | select(.weights | not) | .name] == ["half", "odd"] and ([.models[] | select(.name == "odd") | has("dimension")] == [false])'
expect 0 mneme model list
out "no weights"

# info: everything, and which setting says so.
expect 0 mneme model info linked --json
json '.kind == "transformer" and .layers == 1 and .heads == 2 and .vocabulary == 57 and .max_tokens == 64 and .parameters == 12544 and .pooling == "cls"'
json '.prompts == {"query": "find: ", "passage": ""} and (.fingerprint | test("^[0-9a-f]{16}$")) and (.kernels | length > 0)'
json '.why["encoder.model"] == "linked (command line)"'
expect 0 env MNEME_ENCODER_MODEL=tiny mneme model info
out 'query prompt  "find: "'
out "(environment)"
expect 2 mneme model info half
err "half"

# A name that a later folder of encoder.path has is taken, too; a store made with the one that --force hides says so.
behind=$work/behind
mkdir -p "$behind"
cp -R "$tiny" "$behind/shared"
path=(--set encoder.path="$models:$behind")
expect 0 mneme "${path[@]}" --set encoder.model=shared --store "$work/store" add "a cab" --id 1
expect 2 mneme "${path[@]}" model add "$work/second" --name shared
err "$behind/shared; --force hides it"
expect 0 mneme "${path[@]}" model add "$work/second" --name shared --force
expect 2 mneme "${path[@]}" --set encoder.model=shared --store "$work/store" query cab
err "$models/shared is another one of that name"
expect 0 mneme "${path[@]}" --set encoder.model="$behind/shared/" --store "$work/store" query cab

# Files that do not fit together.
wrong() { # TEXT: adding $work/wrong is refused with it
    expect 2 mneme model add "$work/wrong"
    err "$1"
    rm -rf "$work/wrong"
    cp -R "$tiny" "$work/wrong"
}
cp -R "$tiny" "$work/wrong"
printf 'behind!' >>"$work/wrong/model.safetensors"
wrong "7 bytes behind the last tensor"
for length in -4 0 '"abc"' 2; do
    echo "{\"max_seq_length\": $length}" >"$work/wrong/sentence_bert_config.json"
    wrong "max_seq_length"
done
echo '{"max_seq_length": null}' >"$work/wrong/sentence_bert_config.json"
expect 0 mneme model add "$work/wrong"
rm -rf "$work/wrong" "$models/wrong"
cp -R "$tiny" "$work/wrong"
sed -i 's/encoder\.layer\.0\.\(output.LayerNorm.weight\)/encoder.layer.1.\1/' "$work/wrong/model.safetensors"
expect 2 mneme model add "$work/wrong"
err "num_hidden_layers in config.json is 1"

rm -rf "$work/wrong"
cp -R "$tiny" "$work/wrong"
mv "$work/wrong/model.safetensors" "$work/wrong/pytorch_model.bin"
wrong "pytorch_model.bin beside it is not read"

# What keeps a model from being packed.
expect 4 mneme model pack tiny --set encoder.kernels=reference
err "encoder.kernels is reference"
expect 4 mneme model pack tiny --set encoder.cache=
err "encoder.cache is empty"
echo file >"$work/no-folder"
expect 4 mneme model pack tiny --set encoder.cache="$work/no-folder"
err "cannot write into encoder.cache, $work/no-folder"

# What an add that was killed has left goes with a later one, unless it may be at work.
mkdir "$models/old.part-999999" "$models/new.part-999998" "$models/live.part-$$"
touch -d "2 hours ago" "$models/old.part-999999" "$models/live.part-$$"
expect 0 mneme model add "$tiny" --name swept
[ ! -e "$models/old.part-999999" ] && [ -e "$models/new.part-999998" ] && [ -e "$models/live.part-$$" ] || fail "what is swept"
rm -r "$models/new.part-999998" "$models/live.part-$$"
nothing_left

# Without $HOME, the home that the system knows.
expect 0 env -u HOME -u XDG_DATA_HOME -u XDG_CACHE_HOME mneme config encoder.path
out "$(getent passwd "$(id -u)" | cut -d: -f6)/.local/share/mneme/models"

# A full or read-only place: said, and nothing is left.
if [ "$(id -u)" -ne 0 ]; then
    chmod a-w "$models"
    expect 4 mneme model add "$tiny" --name late
    chmod u+w "$models"
fi
echo file >"$work/file"
expect 4 mneme model add "$tiny" --set encoder.path="$work/file"
expect 2 mneme model add "$tiny" --set encoder.path=:
err "encoder.path"
echo "passed"
