#!/usr/bin/env bash
# mneme tokenize: pieces, ids, counts. Expected ids are the official tokenizer's.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model

printf 'The unaffable cat, [MASK]!\n\nna\303\257ve\n' >lines.txt
expect 0 mneme tokenize lines.txt
[ "$(sed -n 1p "$work/out")" = "the una ##ffa ##ble cat , [MASK] !" ] || fail "pieces of the first line"
[ "$(sed -n 2p "$work/out")" = "" ] || fail "an empty line"
[ "$(sed -n 3p "$work/out")" = "naive" ] || fail "the accent goes"
expect_input 0 lines.txt mneme tokenize --ids
[ "$(sed -n 1p "$work/out")" = "1996 14477 20961 3468 4937 1010 103 999" ] || fail "ids of the first line"
[ "$(wc -l <"$work/out")" -eq 3 ] || fail "one line a line"
printf 'na\303\257ve' | mneme tokenize --json - >"$work/out"
json '.ids == [15743] and .pieces == ["naive"] and .offsets == [[0, 6]]'

expect 0 mneme tokenize --count lines.txt lines.txt
[ "$(cat "$work/out")" = "9 lines.txt
9 lines.txt" ] || fail "counts"
expect_input 0 lines.txt mneme tokenize --count --json
json '.file == "-" and .tokens == 9'

expect 3 mneme tokenize nowhere.txt lines.txt
err "nowhere.txt"
[ "$(wc -l <"$work/out")" -eq 3 ] || fail "the other file is shown"
printf '\377\376 ok \033[31m\n' >bytes.bin
expect 0 mneme tokenize bytes.bin
[ "$(cat "$work/out")" = "ok [ 31 ##m" ] || fail "bytes that are no text"
echo "passed"
