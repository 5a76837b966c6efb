#!/usr/bin/env bash
# mneme model pull that breaks off: it goes on where it was, with what is still the same file and with nothing else.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
. "$MNEME_SOURCE_DIR/tests/cli/hub_support.sh"
hub_start
tiny=$work/tiny
mkdir "$tiny"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$tiny" 7
hub_publish org/tiny "$tiny"
size=$(stat -c %s "$tiny/model.safetensors")
part=$models/.pull/org--tiny/model.safetensors.part
again() { rm -rf "$models/tiny" "$models/.pull"; hub_rules_end; }
# Leaves a part of 20000 bytes behind: the connection breaks there, and then the server wants no more of it.
break_off() {
    again
    hub_rule cut cdn 20000 1
    hub_rule status cdn 418 +1
    expect 4 mneme model pull org/tiny
    [ "$(stat -c %s "$part")" -eq 20000 ] || fail "the part is not 20000 bytes"
    nothing_in_place tiny
    hub_rules_end
}

# Cut off once: the same run goes on.
hub_rule cut cdn 20000 1
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"
[ "$(n_asked "cdn /cdn/")" -eq 2 ] || fail "two requests"
asked "range=bytes=20000-"
nothing_left
# Cut off again and again, each time with something gained: more often than a failure is repeated.
again
hub_rule cut cdn 6000
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"
asked "range=bytes=42000-"

# Cut off for good: it gives up after some attempts, and says that the part is kept.
again
hub_rule cut cdn 20000 1
hub_rule cut cdn 0
expect 4 mneme model pull org/tiny
err "goes on from there"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "one line"
[ "$(n_asked "cdn /cdn/")" -eq 5 ] || fail "one request and four without a byte more"
[ "$(stat -c %s "$part")" -eq 20000 ] || fail "the part is not 20000 bytes"

# Another run goes on with the ETag of the first part, and asks for nothing that is there.
break_off
expect 0 mneme model pull org/tiny --json
same_model "$tiny" "$models/tiny"
asked "range=bytes=20000-"
grep "^cdn " "$root/log" | grep -q 'if-range="' || fail "no If-Range"
not_asked /resolve/$commit/config.json
json ".received == $((size - 20000))"
nothing_left

# A server without Range sends all of it, which is taken from the start.
break_off
hub_rule norange cdn 1
expect 0 mneme model pull org/tiny --json
same_model "$tiny" "$models/tiny"
json ".received == $size"

# The file changes between the parts, and the listing with it: the old part is dropped.
break_off
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$tiny" 8
hub_publish org/tiny "$tiny"
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"
not_asked "range=bytes="

# It changes on the server while the listing stays: If-Range brings the new one from its start, and the digest refuses it.
break_off
mkdir "$work/changed"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$work/changed" 9
cp "$work/changed/model.safetensors" "$root/models/org/tiny/files/model.safetensors"
expect 4 mneme model pull org/tiny
asked "range=bytes=20000-"
err "sha256"
nothing_in_place tiny
[ ! -e "$part" ] || fail "the mixed file was kept"
cp "$tiny/model.safetensors" "$root/models/org/tiny/files/model.safetensors"
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"

# A part that was changed on this disk, and one that is too long.
break_off
printf 'XXXX' | dd of="$part" bs=1 seek=100 conv=notrunc status=none
expect 4 mneme model pull org/tiny
err "sha256"
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"
break_off
head -c $((size + 5)) /dev/zero >"$part"
expect 0 mneme model pull org/tiny
same_model "$tiny" "$models/tiny"

# Whole, but the run ended before it was checked: nothing is fetched again.
break_off
cp "$tiny/model.safetensors" "$part"
expect 0 mneme model pull org/tiny --json
json '.received == 0'
not_asked cdn

# Ctrl-C and kill -9 in the middle: what has come is there for the next run.
for signal in INT KILL; do
    again
    hub_rule cut cdn 20000 1
    hub_rule cut cdn 0
    (trap - INT; exec mneme model pull org/tiny) >"$work/out" 2>"$work/err" &
    pull_pid=$!
    for _ in $(seq 100); do [ "$(stat -c %s "$part" 2>/dev/null || echo 0)" -eq 20000 ] && break; sleep 0.05; done
    # Meanwhile another run keeps out of it.
    expect 4 mneme model pull org/tiny
    err "another mneme"
    kill -"$signal" "$pull_pid"
    got=0
    wait "$pull_pid" 2>/dev/null || got=$?
    [ "$got" -eq 137 ] || [ "$got" -eq 130 ] || fail "ended with $got"
    nothing_in_place tiny
    hub_rules_end
    expect 0 mneme model pull org/tiny
    same_model "$tiny" "$models/tiny"
    asked "range=bytes=20000-"
done

# What lies about in the staging folder from elsewhere does not get into the model.
again
mkdir -p "$models/.pull/org--tiny/files/1_Pooling"
echo '{"pooling_mode_max_tokens": true}' >"$models/.pull/org--tiny/files/1_Pooling/config.json"
echo x >"$models/.pull/org--tiny/files/stray"
expect 0 mneme model pull org/tiny
[ ! -e "$models/tiny/1_Pooling" ] && [ ! -e "$models/tiny/stray" ] || fail "a stray file came along"

# The real model, where it is installed.
minilm=$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2
if [ -f "$minilm/model.safetensors" ]; then
    hub_publish sentence-transformers/all-MiniLM-L6-v2 "$minilm"
    hub_rule cut cdn 30000000 2
    expect 0 mneme model pull sentence-transformers/all-MiniLM-L6-v2 --name pulled --json
    json '.dimension == 384 and (.files | map(select(.checked == "size")) | length == 0)'
    for file in config.json model.safetensors tokenizer.json 1_Pooling/config.json; do cmp "$minilm/$file" "$models/pulled/$file"; done
    echo "the spare key" >lines.txt
    expect 0 mneme embed lines.txt --set encoder.model="$minilm"
    cp "$work/out" from_source
    expect 0 mneme embed lines.txt --set encoder.model=pulled
    cmp "$work/out" from_source || fail "the pulled model encodes differently"
fi
echo "passed"
