#!/usr/bin/env bash
# mneme backup, export and import.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"

# A memory whose vectors another encoder made: no model is needed to take it over.
cat >made.jsonl <<'END'
{"mneme_export":1,"encoder":"made-up","fingerprint":"00000000000000ff","dimension":4,"vectors":"f32"}
{"id":"a","namespace":"","title":"Keys","session":"s","speaker":"Ann","time":"2023-05-08T13:56:00Z","source":"notes.md","metadata":{"n":1.5,"tags":["é"]},"importance":0.85,"pinned":true,"expires":"2099-01-01T00:00:00.500Z","text":"The spare key.\nUnder the pot.","chunks":[{"start":0,"end":15,"vector":[0.5,0.5,0.5,0.5]},{"start":15,"end":29,"vector":[0.5,-0.5,0.5,-0.5]}]}
{"id":"c","namespace":"","session":"s","text":"","chunks":[]}
{"id":"b","namespace":"pictures","text":"","vector":[0,-0.600000024,0.800000012]}
END
f32=(--set store.vectors=f32)
expect 0 mneme --store made "${f32[@]}" import made.jsonl --json
json '.added == 3 and .refused == 0 and .chunks == 3 and .refusals == []'
expect 0 mneme --store made stats --json
json '.encoder == "made-up" and .records == 3'
expect 0 mneme --store made check
expect 0 mneme --store made export --vectors
cmp -s "$work/out" made.jsonl || fail "the export is not what was imported: $(diff "$work/out" made.jsonl)"
expect 0 mneme --store made import made.jsonl
out "added 0, updated 0, unchanged 3, refused 0"

# Whatever a store keeps vectors in, the next one keeps them so, and they stay the same; unless store.vectors is set.
for type in f32 bf16 int12 int8; do
  sed "1s/\"f32\"/\"$type\"/" made.jsonl >as.jsonl
  expect 0 mneme --store "one $type" import as.jsonl
  expect 0 mneme --store "one $type" export --vectors
  mv "$work/out" one.jsonl
  grep -q "\"vectors\":\"$type\"" one.jsonl || fail "the export does not say that vectors are $type"
  expect 0 mneme --store "two $type" import one.jsonl
  expect 0 mneme --store "two $type" stats --json
  json '.namespaces | all(.vectors == "'"$type"'")'
  expect 0 mneme --store "two $type" export --vectors
  cmp -s "$work/out" one.jsonl || fail "vectors kept as $type have changed on the way"
done
expect 0 mneme --store set --set store.vectors=int8 import made.jsonl
expect 0 mneme --store set stats --json
json '.namespaces | all(.vectors == "int8")'
expect 0 env MNEME_STORE_VECTORS=bf16 mneme --store env import made.jsonl
expect 0 mneme --store env stats --json
json '.namespaces | all(.vectors == "bf16")'

# Without vectors: those that came with a record stay. A file appears whole, and only for its owner.
expect 0 mneme --store made export plain.jsonl --json
json '.records == 3 and .vanished == 0 and .bytes > 100'
[ "$(stat -c %a plain.jsonl)" = 600 ] || fail "an export is private"
! grep -q chunks plain.jsonl || fail "chunks without --vectors"
grep -q '"vector":\[0,-0.6' plain.jsonl || fail "a vector of its own is missing"
expect 0 mneme --store made export - --session s --quiet
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "two records are of session s"
expect 0 mneme --store made export --where 'speaker = "Ann"'
[ "$(wc -l <"$work/out")" -eq 1 ] || fail "one record is Ann's"
expect 2 mneme --store made export --where 'speaker ='
expect 2 mneme --store made export made/data.mdb
err "the store's own folder"
expect 2 mneme --store made export one two
expect 4 mneme --store made export nowhere/file.jsonl
ls ./*.partial-* >/dev/null 2>&1 && fail "something is left of an export that failed"
expect 4 mneme --store missing export

# What cannot be taken: another encoder, bad lines, an export of the future.
sed '1s/00ff/00aa/; s/"id":"a"/"id":"z"/' made.jsonl >other.jsonl
expect 2 mneme --store made import other.jsonl
err "made-up"
sed '1s/"mneme_export":1/"mneme_export":2/' made.jsonl >future.jsonl
expect 3 mneme --store future import future.jsonl --json
json '.refusals[0].line == 1'
{ head -2 made.jsonl; echo '{"id":"x","text":"abc","chunks":[{"start":0,"end":9,"vector":[1,0,0,0]}]}'; echo 'not json'; echo '{"text":"no id","chunks":[]}'; } >bad.jsonl
expect 3 mneme --store bad --set encoder.model=none "${f32[@]}" import bad.jsonl --json
json '.added == 1 and .refused == 3 and [.refusals[].line] == [4,3,5]'
expect 3 mneme --store strict import bad.jsonl --strict
err "nothing was stored"
expect 0 mneme --store strict stats --json
json '.records == 0'
expect_input 0 made.jsonl mneme --store strict "${f32[@]}" import - --strict
expect 0 mneme --store strict export --vectors
cmp -s "$work/out" made.jsonl || fail "what came through standard input is another"
expect 2 mneme import
expect 2 mneme import one two
expect 2 mneme --store made import nothing.jsonl

# Backup: a store of its own, replaced by a newer one; nothing else is.
expect 0 mneme --store made backup copy --json
json '.bytes > 0 and .bytes_written == .bytes and .generation > 0'
[ "$(stat -c %a copy)" = 700 ] || fail "a backup is private"
expect 0 mneme --store copy export --vectors
cmp -s "$work/out" made.jsonl || fail "the backup holds something else"
expect 0 mneme --store made forget c
expect 0 mneme --store made backup copy
expect 1 mneme --store copy get c
expect 2 mneme --store made backup made/inside
ln -s /nonexistent/place dangling
expect 4 mneme --store made backup dangling
err "symbolic link that leads nowhere"
expect 4 mneme --store made backup dangling/below
expect 4 mneme --store made backup /proc/x
cp -r made left && cp -r made right
expect 0 mneme --store left forget a
expect 0 mneme --store right forget b --namespace pictures
expect 2 mneme --store right backup left
err "holds changes that store right never had"
expect 2 mneme --store strict backup copy
err "another store"
expect 2 mneme --store made backup
mkdir full && touch full/thesis.txt
expect 2 mneme --store made backup full
err "thesis.txt"

# With the encoder: the same answers, encoded anew or not.
need_model
for i in 1 2 3 4 5 6 7 8; do
    printf '{"id":"t%d","text":"On day %d we talked about the %s and the weather.","session":"day","speaker":"%s"}\n' \
        $i $i "$(sed -n ${i}p <<<"$(printf 'garden\nroof\nboat\ndog\ntax\ncake\nbridge\npiano')")" "$([ $((i % 2)) -eq 0 ] && echo Bob || echo Ann)"
done >talk.jsonl
expect 0 mneme --store talk index talk.jsonl
expect 0 mneme --store talk add "On day 3 we talked about the ship." --id t3 --session day --speaker Ann # stays third
expect 0 mneme --store talk export with.jsonl --vectors
expect 0 mneme --store talk export without.jsonl
expect 0 mneme --store with --set encoder.model=none import with.jsonl
expect 0 mneme --store without import without.jsonl
expect 0 mneme --store indexed index with.jsonl
for store in with without; do
    expect 0 mneme --store $store export --vectors
    cmp -s "$work/out" with.jsonl || fail "$store is another memory"
    # Importance is estimated anew from what is there when a record comes: without it, the answers are the same.
    for question in "what did we say of the ship?" "music"; do
        expect 0 mneme --store talk --set retrieval.session_importance_weight=0 query "$question" --json
        sed 's/"took_ms":[0-9.e+-]*//; s/"generation":[0-9]*//' "$work/out" >"$work/wanted"
        expect 0 mneme --store $store --set retrieval.session_importance_weight=0 query "$question" --json
        sed 's/"took_ms":[0-9.e+-]*//; s/"generation":[0-9]*//' "$work/out" | cmp -s - "$work/wanted" || fail "$store answers otherwise"
    done
done
grep -o '"id":"t[0-9]"' without.jsonl | tr -dc '0-9' >"$work/order"
[ "$(cat "$work/order")" = 12345678 ] || fail "the session's order is lost: $(cat "$work/order")"
expect 0 mneme --store indexed stats --json
json '.records == 8 and .encoder == "all-MiniLM-L6-v2"'
# Chunks without a word on their encoder are encoded again.
tail -n +2 with.jsonl >headless.jsonl
expect 0 mneme --store headless import headless.jsonl
expect 0 mneme --store headless export --vectors
cmp -s "$work/out" with.jsonl || fail "texts encoded again give something else"
echo "passed"
