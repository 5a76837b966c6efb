#!/usr/bin/env bash
# mneme model pull, against a hub on this machine: what comes, what is checked, what is refused, and going on.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
. "$MNEME_SOURCE_DIR/tests/cli/hub_support.sh"
hub_start
tiny=$work/tiny
mkdir -p "$tiny/1_Pooling"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$tiny" 7
echo '{"word_embedding_dimension": 32, "pooling_mode_cls_token": true}' >"$tiny/1_Pooling/config.json"
mkdir "$work/published"
cp -R "$tiny/." "$work/published/"
echo "not for mneme" >"$work/published/README.md"
head -c 5000 /dev/urandom >"$work/published/pytorch_model.bin"
hub_publish org/tiny "$work/published"
size=$(stat -c %s "$tiny/model.safetensors")
again() { rm -rf "$models/tiny" "$models/.pull"; hub_rules_end; }

# The command itself does not load libcurl: every other command would pay for it.
ldd "$(command -v mneme)" >"$work/out"
no_out libcurl
no_out libcrypto

# Whole, with the files that mneme reads and no others; it is the model that was published.
expect 0 mneme model pull org/tiny
out "$models/tiny"
err "org/tiny"
same_model "$tiny" "$models/tiny"
cmp "$tiny/1_Pooling/config.json" "$models/tiny/1_Pooling/config.json"
[ "$(cd "$models/tiny" && find . -type f | wc -l)" -eq 6 ] || fail "six files"
not_asked README.md
not_asked pytorch_model.bin
asked "cdn /cdn/org/tiny/model.safetensors"
asked "/org/tiny/resolve/$commit/config.json"
nothing_left
echo "a cab" >lines.txt
expect 0 mneme embed lines.txt --set encoder.model="$tiny/"
cp "$work/out" from_source
expect 0 mneme embed lines.txt --set encoder.model=tiny
cmp "$work/out" from_source || fail "the pulled model encodes differently"
expect 0 mneme model info tiny --json
json '.dimension == 32 and .pooling == "cls" and .prompts.query == "find: "'

# A name that is taken is refused before anything is asked; --force replaces it, --name gives another.
hub_rules_end
expect 2 mneme model pull org/tiny
err "--force"
[ ! -e "$root/log" ] || fail "a connection for nothing"
echo broken >"$models/tiny/config.json"
expect 0 mneme model pull org/tiny --force --json
same_model "$tiny" "$models/tiny"
json ".name == \"tiny\" and .commit == \"$commit\" and .kind == \"transformer\" and .dimension == 32"
json '[.files[] | select(.checked == "sha256") | .name] == ["model.safetensors"]'
json '[.files[] | select(.checked == "git sha1")] | length == 5'
json '.received == .bytes'
nothing_left
expect 0 mneme model pull org/tiny --name other
same_model "$tiny" "$models/other"
expect 2 mneme model pull org/tiny --name ../other
expect 2 mneme model pull org/tiny --name .other

# Revisions: a name with a slash is one part of the path.
cp "$root/models/org/tiny/listing.main.json" "$root/models/org/tiny/listing.refs%2Fpr%2F1.json"
again
expect 0 mneme model pull org/tiny --revision refs/pr/1
expect 1 mneme model pull org/tiny --name third --revision nowhere
err "no revision nowhere"

# Bad usage: nothing is asked.
again
for bad in ../../etc org/../tiny org/tiny/more 'org/t?x' 'http:%2F/org' '' .hidden -- "org/ti ny"; do
    expect 2 mneme model pull "$bad"
done
expect 2 env HF_ENDPOINT=ftp://127.0.0.1 mneme model pull org/tiny
err HF_ENDPOINT
expect 2 env HF_ENDPOINT=file:///etc mneme model pull org/tiny
expect 2 env HF_TOKEN=$'a\r\nX-Evil: 1' mneme model pull org/tiny
expect 2 mneme model pull org/tiny --link
expect 2 mneme model list --force
expect 2 mneme model pull
[ ! -e "$root/log" ] || fail "a connection for nothing"

# No such model; a token is wanted; gated; too many questions; a server that fails and recovers, or does not.
expect 1 mneme model pull org/none
err "there is no model org/none"
hub_rule status /api/ 401:RepoNotFound
expect 2 mneme model pull org/tiny
err HF_TOKEN
expect 2 env HF_TOKEN=hf_wrong mneme model pull org/tiny
err "the token in HF_TOKEN"
hub_rules_end
hub_rule status /resolve/ 403:GatedRepo
expect 2 mneme model pull org/tiny
err "gated"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"
again
hub_rule status /api/ 500 1
hub_rule status cdn 503 2
expect 0 mneme model pull org/tiny
[ "$(n_asked "hub /api/")" -eq 2 ] || fail "the listing twice"
[ "$(n_asked "cdn /cdn/")" -eq 3 ] || fail "the weights three times"
again
hub_rule status /api/ 502
expect 4 mneme model pull org/tiny
err "502"
[ "$(n_asked "hub /api/")" -eq 4 ] || fail "four attempts"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"
nothing_in_place tiny

# Nobody there.
expect 4 env HF_ENDPOINT=http://127.0.0.1:1 mneme model pull org/tiny
err "127.0.0.1"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"

# The token goes to the hub and to no other host.
again
expect 0 env HF_TOKEN=hf_secret mneme model pull org/tiny
grep "^hub " "$root/log" | grep -qv "authorization=Bearer hf_secret" && fail "the hub did not get the token"
grep "^cdn " "$root/log" | grep -q "authorization=-$" || fail "another host got the token"
! grep -rq hf_secret "$models" || fail "the token was kept"
no_err hf_secret

# A listing that wants to write elsewhere: names are only ever compared.
again
evil='{"rfilename":"../../escaped","size":9,"blobId":"x"}'
hub_listing "$work/published" "$evil" '{"rfilename":"/tmp/escaped/config.json","size":9}' '{"rfilename":"a/../config.json"}' '{"rfilename":7}' 8 \
    >"$root/models/org/tiny/listing.evil.json"
expect 0 mneme model pull org/tiny --revision evil
not_asked escaped
[ "$(cd "$models/tiny" && find . -type f | wc -l)" -eq 6 ] || fail "six files"
[ ! -e "$XDG_DATA_HOME/mneme/escaped" ] && [ ! -e "$XDG_DATA_HOME/escaped" ] || fail "escaped"

# Listings that are none.
list() { printf '%s' "$1" >"$root/models/org/tiny/listing.bad.json"; expect "$2" mneme model pull org/tiny --revision bad; nothing_in_place tiny; }
again
list 'not JSON' 4
list '[]' 4
list '{"sha":"../../x","siblings":[]}' 4
err '"sha"'
list "{\"sha\":\"$commit\",\"siblings\":[]}" 2
list "{\"sha\":\"$commit\",\"siblings\":{\"rfilename\":\"config.json\"}}" 4
hub_rule endless /api/ 40
expect 4 mneme model pull org/tiny
err "more than"
hub_rules_end

# Weights in another form, in several files without an index, and too much of them: refused by name before anything is fetched.
list "{\"sha\":\"$commit\",\"siblings\":[{\"rfilename\":\"config.json\"},{\"rfilename\":\"pytorch_model.bin\"}]}" 2
err "pytorch_model.bin"
list "{\"sha\":\"$commit\",\"siblings\":[{\"rfilename\":\"config.json\"},{\"rfilename\":\"onnx/model.onnx\"}]}" 2
err "onnx/model.onnx"
list "{\"sha\":\"$commit\",\"siblings\":[{\"rfilename\":\"config.json\"},{\"rfilename\":\"model-00001-of-00002.safetensors\"}]}" 2
err "model-00001-of-00002.safetensors"
list "{\"sha\":\"$commit\",\"siblings\":[{\"rfilename\":\"model.safetensors\"}]}" 2
err "config.json"
list "{\"sha\":\"$commit\",\"siblings\":[{\"rfilename\":\"config.json\"},{\"rfilename\":\"model.safetensors\",\"size\":99999999999999}]}" 2
err "model.safetensors"
not_asked resolve

# A model that would not load is refused before its weights are fetched, and one whose weights are wrong after.
mkdir "$work/mpnet" && cp -R "$tiny/." "$work/mpnet/"
sed -i 's/"bert"/"albert-xl"/' "$work/mpnet/config.json"
hub_publish org/mpnet "$work/mpnet"
expect 2 mneme model pull org/mpnet
err 'albert-xl'
no_err "$models/.pull"
not_asked "cdn"
nothing_in_place mpnet
nothing_left
mkdir "$work/short" && cp -R "$tiny/." "$work/short/"
truncate -s 30000 "$work/short/model.safetensors"
hub_publish org/short "$work/short"
expect 2 mneme model pull org/short
err "model.safetensors"
nothing_in_place short
nothing_left

# One wrong byte, in the weights and in a small file: thrown away, nothing in place, the rest kept for the next time.
again
hub_rule wrong cdn 40000
expect 4 mneme model pull org/tiny
err "model.safetensors has the sha256"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"
nothing_in_place tiny
[ -z "$(find "$models/.pull" -name 'model.safetensors*')" ] || fail "the wrong file was kept"
hub_rules_end
expect 0 mneme model pull org/tiny --json
json '[.files[] | select(.received > 0) | .name] == ["model.safetensors"]'
not_asked config.json
again
hub_rule wrong /vocab.txt 20
expect 4 mneme model pull org/tiny
err "vocab.txt has the git sha1"
nothing_in_place tiny

# A body without an end, and one that is longer than listed.
again
hub_rule endless cdn 600
expect 4 mneme model pull org/tiny
err "longer than the $size bytes"
nothing_in_place tiny
[ "$(du -sk "$models" | cut -f 1)" -lt 1000 ] || fail "it was taken"

# Redirects: not to files, not for ever. Another commit than the one asked for is none of ours.
again
hub_rule redirect /vocab.txt file:///etc/passwd
expect 4 mneme model pull org/tiny
nothing_in_place tiny
again
hub_rule redirect /vocab.txt "$hub/org/tiny/resolve/$commit/vocab.txt"
expect 4 mneme model pull org/tiny
[ "$(n_asked vocab.txt)" -le 7 ] || fail "too many redirects followed"
again
hub_rule commit /vocab.txt fedcba9876543210fedcba9876543210fedcba98
expect 4 mneme model pull org/tiny
err "commit"

# A hub that names no digests in its listing: those of the answers are used.
again
sed 's/,"blobId":"[0-9a-f]*"//g; s/,"lfs":{[^}]*}//' "$root/models/org/tiny/listing.main.json" >"$root/models/org/tiny/listing.plain.json"
expect 0 mneme model pull org/tiny --revision plain --json
json '[.files[] | select(.checked == "size")] | length == 6'
err "names no checksum"
again
sha256sum "$tiny/model.safetensors" | sed 's/\([0-9a-f]*\).*/"\1"/' >"$root/models/org/tiny/linked_etag"
expect 0 mneme model pull org/tiny --revision plain --json
json '[.files[] | select(.checked == "sha256") | .name] == ["model.safetensors"]'
again
hub_rule wrong cdn 40000
expect 4 mneme model pull org/tiny --revision plain
err "sha256"
rm "$root/models/org/tiny/linked_etag"
echo "passed"
