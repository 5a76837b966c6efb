#!/usr/bin/env bash
# Help, versions, bad usage and bad configuration: nothing here needs a store.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"

expect 0 mneme --version
out "mneme 0."
expect 0 mneme --help
for command in init index add get list forget query context embed tokenize stats check config model; do
    out "  $command "
done

# Every command has help with an example and says nothing else; options may stand before the command, too.
for command in $(sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p' "$work/out" | grep -v '^mneme$'); do
    expect 0 mneme "$command" --help
    out "Usage"
    out "Example"
    out "  mneme $command"
    out "--store DIR"
    [ ! -s "$work/err" ] || fail "$command --help speaks on stderr"
done
expect 0 mneme --help query
out "--mode hybrid|dense|lexical"
expect 0 mneme help context
out "--budget TOKENS"

# Bad usage: 2, one line on stderr, nothing on stdout.
expect 2 mneme
err "no command"
expect 2 mneme qeury x
err "did you mean 'query'?"
expect 2 mneme --stroe D stats
err "did you mean --store?"
expect 2 mneme query
err "empty"
expect 2 mneme query ""
silent
expect 2 mneme query "  "
expect 2 mneme query x -k 0
expect 2 mneme query x -k ten
expect 2 mneme query x --mode sparse
err "hybrid|dense|lexical"
expect 2 mneme query x --since "last May"
expect 2 mneme query x --nope
expect 2 mneme context x --budget 0
expect 2 mneme get
expect 2 mneme list extra
expect 2 mneme index
expect 2 mneme add
expect 2 mneme add text --metadata '[1]'
err "object"
expect 2 mneme add text --time 2023-99-99
expect 2 mneme forget
err "say what to forget"
expect 2 mneme forget id --session s
expect 2 mneme embed --output x.bin
expect 2 mneme tokenize --count --ids
expect 2 mneme model
expect 2 mneme model frobnicate
expect 2 mneme init a b

# Bad configuration: 2, with the nearest name.
expect 2 mneme config --set retrieval.kk=3
err "retrieval.k"
expect 2 mneme config --set nonsense
err "NAME=VALUE"
expect 2 mneme config --set retrieval.k=many
expect 2 mneme config --config "$work/none.yaml"
printf 'retrieval:\n  k: 7\n  mood: good\n' >"$work/bad.yaml"
expect 2 mneme config --config "$work/bad.yaml"
err "bad.yaml:3"
printf 'retrieval: [\n' >"$work/broken.yaml"
expect 2 mneme config --config "$work/broken.yaml"
err "broken.yaml"
MNEME_RETRIEVAL_K=none expect 2 mneme config
err "MNEME_RETRIEVAL_K"
expect 2 mneme config no.such.setting

# Where a value came from: command line over environment over file over default.
expect 0 mneme config retrieval.k --json
json '.settings[0] | .name == "retrieval.k" and .origin == "default" and .type == "integer"'
printf 'retrieval:\n  k: 7\n' >"$work/good.yaml"
expect 0 mneme config retrieval.k --json --config "$work/good.yaml"
json '.settings[0].value == 7'
out "good.yaml:2"
MNEME_RETRIEVAL_K=8 expect 0 mneme config retrieval.k --json --config "$work/good.yaml"
json '.settings[0] | .value == 8 and .origin == "environment"'
MNEME_RETRIEVAL_K=8 expect 0 mneme config retrieval.k --json --config "$work/good.yaml" --set retrieval.k=9
json '.settings[0] | .value == 9 and .origin == "command line"'
mkdir -p "$XDG_CONFIG_HOME/mneme" "$work/store"
cp "$work/good.yaml" "$XDG_CONFIG_HOME/mneme/config.yaml"
expect 0 mneme config retrieval.k --json --store "$work/store"
json '.settings[0].value == 7'
printf 'retrieval:\n  k: 6\n' >"$work/store/mneme.yaml"
expect 0 mneme --store "$work/store" config retrieval.k --json
json '.settings[0].value == 6'
expect 0 mneme config
out "retrieval.k"

# Which store: --store over $MNEME_STORE over the nearest .mneme over the user's own.
expect 0 mneme config --json
json ".store == \"$XDG_DATA_HOME/mneme\" and .store_origin == \"default\""
mkdir -p .mneme deep/er
cd deep/er
expect 0 mneme config --json
json '.store_origin == ".mneme" and (.store | endswith("/here/.mneme"))'
MNEME_STORE="$work/e" expect 0 mneme config --json
json ".store == \"$work/e\" and .store_origin == \"\$MNEME_STORE\""
MNEME_STORE="$work/e" expect 0 mneme --store s config --json
json '.store == "s"'
cd ../..

# No store where one is read: 4, and how to make one.
for command in "query x" "context x" "get x" "list" "stats" "check" "forget x"; do
    expect 4 mneme --store "$work/none" $command
    err "$work/none"
    silent
done
[ ! -e "$work/none" ] || fail "a command that reads made a store"

# A folder that is no store, a file, no permission.
mkdir "$work/notes" && echo text >"$work/notes/a.txt"
expect 4 mneme --store "$work/notes" stats
expect 4 mneme --store "$work/notes" add text
err "not a mneme store"
expect 4 mneme --store "$work/notes/a.txt" stats

# Writing to a full device is a failure; a reader that goes away is none.
if [ -e /dev/full ]; then
    code=0
    mneme config >/dev/full 2>"$work/err" || code=$?
    [ "$code" -eq 4 ] || fail "a full device gave $code"
    err "cannot write to standard output"
fi
{
    sleep 0.2 # until the reader is gone
    code=0
    mneme config --long 2>"$work/err" || code=$?
    echo "$code" >"$work/code"
} | true
[ "$(cat "$work/code")" -eq 0 ] || fail "a reader that went away is no failure"
no_err "cannot write"
echo "passed"
