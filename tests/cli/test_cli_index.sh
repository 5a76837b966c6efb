#!/usr/bin/env bash
# mneme index: what is taken, left out, refused, replaced and pruned, and what it says of it.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model

mkdir -p docs/sub docs/build
printf '# Garden\n\nThe spare key is under the third flower pot.\n' >docs/garden.md
printf 'The ship sails at noon.\n' >docs/sub/ship.txt
printf '<html><head><title>Cooking</title></head><body><p>Boil <b>water</b>.</p></body></html>' >docs/cook.html
printf 'left out\n' >docs/build/x.txt
printf 'hidden\n' >docs/.secret
printf 'build/\n' >docs/.gitignore
printf '*.tmp\n' >docs/.mnemeignore
printf 'left out\n' >docs/y.tmp
printf 'a\0b' >docs/image.bin
: >docs/empty.txt
expect 0 mneme init
[ "$(stat -c %a .mneme)" = 700 ] || fail "the store is open to others"

# A dry run shows and stores nothing; then the same for real.
expect 0 mneme index docs --dry-run
out "add docs/garden.md"
out "would be: added 3, updated 0, unchanged 0, removed 0, refused 0"
expect 0 mneme index docs
out "added 3, updated 0, unchanged 0, removed 0, refused 0"
err "skipped docs/image.bin: a binary file"
expect 0 mneme list --json
json '[.records[].id] == ["docs/cook.html","docs/garden.md","docs/sub/ship.txt"] and .next == null'
json '[.records[].title] == ["Cooking","Garden","ship.txt"]'
json 'all(.records[]; .source == .id)'
expect 0 mneme get docs/cook.html
[ "$(cat "$work/out")" = "Boil water." ] || fail "HTML was not made readable"
expect 0 mneme get docs/garden.md
cmp -s "$work/out" docs/garden.md || fail "the text is not the file's"

# The same again costs nothing; ids do not depend on the folder that the command runs in.
expect 0 mneme index docs --json
json '.added == 0 and .updated == 0 and .unchanged == 3 and .removed == 0 and .refused == 0 and .chunks == 0 and .dry_run == false'
cd docs/sub
expect 0 mneme index . ../garden.md --json
json '.unchanged == 2 and .added == 0'
cd ../..
expect 0 mneme index docs docs/garden.md . --json
json '.unchanged == 3 and .added == 0'

# Changed is replaced, vanished is removed (only with --prune, only below the paths given).
printf 'The ship sails at midnight.\n' >docs/sub/ship.txt
expect 0 mneme index docs --json
json '.updated == 1 and .unchanged == 2'
expect 0 mneme get docs/sub/ship.txt
out "midnight"
rm docs/garden.md
expect 0 mneme index docs --json
json '.removed == 0 and .unchanged == 2'
expect 0 mneme index docs/sub --prune --json
json '.removed == 0 and .unchanged == 1'
expect 0 mneme index docs --prune --dry-run
out "remove docs/garden.md"
expect 0 mneme get docs/garden.md
expect 0 mneme index docs --prune --json
json '.removed == 1 and .unchanged == 2'
expect 1 mneme get docs/garden.md
expect 0 mneme add "a note of its own" --id own
rm -r docs/sub
expect 0 mneme index docs/sub --prune --json
json '.removed == 1 and .refused == 0'
expect 3 mneme index docs/sub --prune
err "docs/sub: no such file"
expect 0 mneme index . --prune --json
json '.removed == 0'
expect 0 mneme get own

# Include, exclude, size.
mkdir pick && echo one >pick/a.md && echo two >pick/b.txt && echo three >pick/c.txt
expect 0 mneme index pick --include '*.txt' --exclude c.txt --dry-run
out "add pick/b.txt"
no_out "a.md"
no_out "c.txt"
expect 3 mneme index pick --max-size 4
err "pick/c.txt: over the size limit"

# What the user names is taken, hidden or not, and refused by name when it cannot be.
expect 0 mneme index docs/.secret
expect 3 mneme index docs/image.bin
err "docs/image.bin: a binary file"
expect 3 mneme index nowhere
err "nowhere: no such file"

# JSONL: broken lines are named with file and line, the rest is stored; ids from file and line where none is given.
cat >talk.jsonl <<'END'
{"_id":"D1:1","text":"Ana moved to Lisbon.","speaker":"Ana","session":"s1","time":"2023-05-08T13:56:00Z","namespace":"conv","metadata":{"kind":"chat","n":0.1}}
{"id":"D1:2","text":"Really?","speaker":"Ben","session":"s1","namespace":"conv"}

{"text": "broken
{"text":"no id here"}
{"id":"D1:3","text":42}
[1,2]
{"id":"v","text":"x","namespace":"own","vector":[1,"two"]}
END
expect 3 mneme index talk.jsonl --json
json '.added == 3 and .refused == 4'
json '[.refusals[].line] == [4,6,7,8] and all(.refusals[]; .source == "talk.jsonl" and (.reason | length) > 0)'
err "talk.jsonl:4: "
err "talk.jsonl:8: "
expect 0 mneme get D1:1 -n conv --json
json '.text == "Ana moved to Lisbon." and .speaker == "Ana" and .session == "s1" and .time == "2023-05-08T13:56:00Z"'
json '.namespace == "conv" and .metadata == {"kind":"chat","n":0.1} and .source == "talk.jsonl"'
expect 0 mneme get talk.jsonl:5
out "no id here"

# --strict: nothing is stored when anything is refused.
printf '{"id":"s1","text":"fine"}\n{"id":"s2"\n' >strict.jsonl
expect 3 mneme index strict.jsonl --strict
err "strict.jsonl:2"
err "nothing was stored"
expect 1 mneme get s1
expect_input 3 strict.jsonl mneme index - --strict
expect 1 mneme get s1
printf '{"id":"s1","text":"fine"}\n' >strict.jsonl
expect 0 mneme index strict.jsonl --strict --json
json '.added == 1 and .refused == 0'

# A file with refused lines loses nothing to --prune; a line that vanished goes.
sed -i 's/^{"id":"D1:2"/{"id":"D1:2/' talk.jsonl
expect 3 mneme index talk.jsonl --prune --json
json '.removed == 0 and .refused == 5'
expect 0 mneme get D1:2 -n conv
printf '{"id":"D1:2","text":"Really?","speaker":"Ben","session":"s1","namespace":"conv"}\n' >talk.jsonl
expect 0 mneme index talk.jsonl --prune --json
json '.removed == 2 and .unchanged == 1'

# Standard input: JSONL by its first line, else text.
printf '{"id":"in1","text":"from a pipe"}\n' >"$work/in"
expect_input 0 "$work/in" mneme index -
expect 0 mneme get in1
printf 'plain text from a pipe\n' >"$work/in"
expect_input 0 "$work/in" mneme index -
expect 0 mneme get -- -
out "plain text"

# Invalid UTF-8 is replaced, counted and reported.
printf 'caf\xe9 au lait \xff\n' >latin.txt
printf '{"id":"latin","text":"caf\xe9"}\n' >latin.jsonl
expect 0 mneme index latin.txt latin.jsonl --json
json '.added == 2 and .replaced_characters == 3'
expect 0 mneme index latin.txt
touch latin2.txt && printf '\xe9t\xe9\n' >latin2.txt
expect 0 mneme index latin2.txt
err "replaced 2 invalid UTF-8 sequences"

# A namespace for what names none; ids of a store that is not called .mneme are the paths as given.
expect 0 mneme index pick --namespace picked
expect 0 mneme list --namespace picked --json
json '(.records | length) == 3'
expect 0 mneme --store "$work/other" index ./pick/../pick/a.md
expect 0 mneme --store "$work/other" get pick/a.md

# A store inside the folder that is indexed is not read.
mkdir inner && echo text >inner/a.txt
expect 0 mneme --store inner/memory index inner
expect 0 mneme --store inner/memory index inner --json
json '.unchanged == 1 and .added == 0 and .skipped == 0'

# Everything that was stored is sound.
expect 0 mneme check

# A byte-order mark before JSONL, in a file and on standard input.
printf '\xef\xbb\xbf{"id":"marked","text":"a lamp on the pier"}\n' >marked.jsonl
expect_input 0 marked.jsonl mneme --store "$work/marked-stream" index -
expect 0 mneme --store "$work/marked-stream" get marked
expect 0 mneme --store "$work/marked-file" index marked.jsonl
expect 0 mneme --store "$work/marked-file" get marked

echo "passed"
