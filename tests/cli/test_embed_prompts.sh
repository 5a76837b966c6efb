#!/usr/bin/env bash
# mneme embed --prompt, --prompt-text: the vectors are those of prompt and text written as one, which is what
# sentence-transformers' encode(prompt=...) gives.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
model=$work/model
mkdir "$model"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$model" 7
cat >"$model/config_sentence_transformers.json" <<'JSON'
{"prompts": {"query": "find: ", "document": "", "title": "quer", "topic": "of the kind "}, "default_prompt_name": "topic"}
JSON
embed() { expect 0 mneme embed --set encoder.model="$model/" "$@"; }

# Texts that begin with a space, a mark, a word that goes on from "quer", and nothing at all.
printf '%s\n' "y in a box" "a cab" " spaced" "-ies" "" "y" >texts.txt
plain() { # PROMPT: the same texts with the prompt written into them, and no other prompt
    sed "s/^/$1/" texts.txt >joined.txt
    embed joined.txt --prompt-text ""
    cp "$work/out" expected
}
same() { cmp "$work/out" expected || fail "$1: not the vectors of prompt and text together"; }
for prompt in "quer" "find: " "of the kind " "a:" "[" "quer ies"; do
    plain "$prompt"
    embed texts.txt --prompt-text "$prompt"
    same "--prompt-text '$prompt'"
done

# By name: each of them, and as --query does.
for pair in "query=find: " "title=quer" "topic=of the kind " "document="; do
    plain "${pair#*=}"
    embed texts.txt --prompt "${pair%%=*}"
    same "--prompt ${pair%%=*}"
done
embed texts.txt --query
cp "$work/out" asked
embed texts.txt --prompt query
cmp "$work/out" asked || fail "--prompt query is not --query"
embed texts.txt --prompt-text ""
cp "$work/out" expected
embed texts.txt
same "the model's prompt for documents is empty"
embed texts.txt --prompt title
! cmp -s "$work/out" expected || fail "the prompt makes no difference"

# Of several prompts for documents the first of document, passage, corpus; where there is none, the default one.
cp -R "$model" "$work/default"
settings=$work/default/config_sentence_transformers.json
embed_default() { expect 0 mneme embed texts.txt --set encoder.model="$work/default/" "$@"; }
for case in '{"prompts": {"topic": "of the kind ", "title": "quer"}, "default_prompt_name": "topic"}|of the kind |of the kind ' \
    '{"prompts": {"topic": "of the kind ", "query": ""}, "default_prompt_name": "topic"}|of the kind |' \
    '{"prompts": {"topic": "of the kind ", "corpus": "quer"}, "default_prompt_name": "topic"}|quer|of the kind ' \
    '{"prompts": {"corpus": "a:", "passage": "quer", "query": "find: "}, "default_prompt_name": null}|quer|find: ' \
    '{"prompts": {"passage": "a:", "document": "quer"}}|quer|'; do
    IFS='|' read -r json passage query <<<"$case"
    echo "$json" >"$settings"
    plain "$passage"
    embed_default
    same "texts behind '$passage' of $json"
    plain "$query"
    embed_default --query
    same "questions behind '$query' of $json"
done

# What stands before texts is part of a store's vectors, and so of the fingerprint; what stands before questions is not.
fingerprint() {
    echo "{\"prompts\": $1}" >"$settings"
    expect 0 mneme model info "$work/default" --json
    grep -o '"fingerprint": *"[0-9a-f]*"' "$work/out" || fail "no fingerprint"
}
none=$(fingerprint '{}')
[ "$(fingerprint '{"query": "find: ", "document": ""}')" = "$none" ] || fail "a prompt for questions changes the fingerprint"
[ "$(fingerprint '{"document": "text: "}')" != "$none" ] || fail "a prompt for texts is not in the fingerprint"

echo '{"prompts": {"topic": "of the kind "}, "default_prompt_name": "subject"}' >"$settings"
expect 2 mneme embed texts.txt --set encoder.model="$work/default/"
err 'default_prompt_name "subject" is not among the prompts'

# A text of more than the encoder copies, with white space in front.
{ head -c 40000 /dev/zero | tr '\0' ' '; echo "y in a box"; } >long.txt
{ printf 'quer'; cat long.txt; } >joined.txt
embed joined.txt --prompt-text ""
cp "$work/out" expected
embed long.txt --prompt title
same "a long text"
{ printf 'y '; for _ in $(seq 20000); do printf 'cab '; done; echo; } >long.txt
{ printf 'quer'; cat long.txt; } >joined.txt
embed joined.txt --prompt-text ""
cp "$work/out" expected
embed long.txt --prompt title
same "a text over the window"

# Unknown names, names where there are none, and two at once.
expect 2 mneme embed texts.txt --set encoder.model="$model/" --prompt subject
err "query, document, title, topic"
expect 2 mneme embed texts.txt --set encoder.model="$model/" --prompt title --query
expect 2 mneme embed texts.txt --set encoder.model="$model/" --prompt title --prompt-text "x"
err "one of --query, --prompt and --prompt-text"
cp -R "$model" "$work/bare"
rm "$work/bare/config_sentence_transformers.json"
expect 2 mneme embed texts.txt --set encoder.model="$work/bare/" --prompt query
err "has no prompts"
expect 0 mneme embed texts.txt --set encoder.model="$work/bare/" --prompt-text "quer"

# A model that leaves its prompt out of the pooling: not with a prompt, which would be another vector.
mkdir -p "$work/outside/1_Pooling"
cp -R "$work/bare/." "$work/outside/"
echo '{"pooling_mode_mean_tokens": true, "include_prompt": false}' >"$work/outside/1_Pooling/config.json"
expect 0 mneme embed texts.txt --set encoder.model="$work/outside/"
expect 2 mneme embed texts.txt --set encoder.model="$work/outside/" --prompt-text "quer"
err "pooling"

# What was stopped under another prompt is begun anew, under the same one it goes on.
yes "a cab in a box" | head -n 60000 >many.txt
run=(mneme embed many.txt -o x.npy --set encoder.model="$model/")
expect 0 "${run[@]}" --prompt title
mv x.npy whole.npy
stop() {
    interrupt x.npy.part "${run[@]}" "$@"
    [ -e x.npy.part.state ] || fail "nothing was kept"
}
stop --prompt title
expect 0 "${run[@]}" --prompt-text quer
err "going on"
cmp x.npy whole.npy || fail "going on gives other bytes"
rm x.npy
stop --prompt topic
expect 0 "${run[@]}" --prompt title
err "prompt"
no_err "going on"
cmp x.npy whole.npy || fail "another prompt's vectors were kept"
echo "passed"
