#!/usr/bin/env bash
# docs_context_examples_are_true: runs the sh block of docs/context.md, then each example, and compares what it prints.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
page=$MNEME_SOURCE_DIR/docs/context.md
awk '$0 == "```sh" { on = 1; next } /^```/ { on = 0 } on' "$page" >commands
while read -r line; do eval "$line" </dev/null >"$work/out" 2>"$work/err" || fail "$line"; done <commands
awk '$0 == "```console" { on = 1; n++; next } /^```/ { on = 0 } on { print > ("example." n) }' "$page"
n=0
for example in example.*; do
    command=$(sed -n '1s/^\$ //p' "$example")
    sed 1d "$example" >wanted
    eval "$command" </dev/null >"$work/out" 2>"$work/err" || fail "$command"
    diff wanted "$work/out" >&2 || fail "$command prints something else"
    n=$((n + 1))
done
[ "$n" -eq 4 ] || fail "docs/context.md has $n examples, not 4"
echo "passed"
