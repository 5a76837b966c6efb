#!/usr/bin/env bash
# docs_backup_commands_work: runs the sh block of docs/backup.md in a scratch folder.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
awk '$0 == "```sh" { on = 1; next } /^```/ { on = 0 } on' "$MNEME_SOURCE_DIR/docs/backup.md" >commands
[ "$(wc -l <commands)" -ge 8 ] || fail "docs/backup.md has hardly any commands"
while read -r line; do eval "$line" </dev/null >"$work/out" 2>"$work/err" || fail "$line"; cat "$work/out" >>all; done <commands
[ "$(grep -c 'flower pot' all)" -ge 2 ] || fail "the memory does not come back"
cmp -s <(grep -o '"text":"[^"]*"' notes.jsonl) <(grep -o '"text":"[^"]*"' rest.jsonl) || fail "salvage gives another text"
echo "passed"
