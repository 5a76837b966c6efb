#!/usr/bin/env bash
# Bash completion: commands, options, choices, settings.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
source "$MNEME_SOURCE_DIR/scripts/completion/mneme.bash"
compopt() { :; } # only works while bash completes

# complete_line WORDS...: what would be offered for the last word.
complete_line() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _mneme || true
    printf '%s\n' "${COMPREPLY[@]}" >"$work/out"
    : >"$work/err"
}
offers() { grep -qxF -- "$1" "$work/out" || fail "$1 is not offered"; }

complete_line mneme ""
for command in init index add get list forget query context embed tokenize stats check compact backup export import config model train; do offers "$command"; done
complete_line mneme que
[ "$(cat "$work/out")" = query ] || fail "que is query"
complete_line mneme --st
offers --store
complete_line mneme query --
offers --mode
offers --namespace
offers --json
offers --until
complete_line mneme --json query x --mode d
[ "$(cat "$work/out")" = dense ] || fail "--mode d is dense"
complete_line mneme context x --tokens by
[ "$(cat "$work/out")" = bytes/4 ] || fail "--tokens by is bytes/4"
complete_line mneme context x --expl
[ "$(cat "$work/out")" = --explain ] || fail "--expl is --explain"
complete_line mneme embed x --type ub
[ "$(cat "$work/out")" = ubinary ] || fail "--type ub is ubinary"
complete_line mneme config retrieval.
offers retrieval.k
complete_line mneme query x --set retrieval.
offers retrieval.k=
complete_line mneme eval x --sweep retrieval.
offers retrieval.candidates=
complete_line mneme eval --
for option in --compare --score --qrels --topics --measures --sweep --halves --svg --baseline --per-query; do offers "$option"; done
complete_line mneme eval x --mode l
[ "$(cat "$work/out")" = lexical ] || fail "--mode l is lexical"
complete_line mneme train ""
offers lm
offers sample
complete_line mneme train lm --ce
[ "$(cat "$work/out")" = --cell ] || fail "train lm --ce is --cell"
complete_line mneme train lm x.txt --cell tr
[ "$(cat "$work/out")" = transformer ] || fail "--cell tr is transformer"
complete_line mneme train sample x --te
[ "$(cat "$work/out")" = --temperature ] || fail "train sample --te is --temperature"
complete_line mneme model distill --ro
[ "$(cat "$work/out")" = --rounds ] || fail "model distill --ro is --rounds"
complete_line mneme model ""
offers info
offers pull
complete_line mneme model pull --
offers --revision
mkdir -p "$XDG_DATA_HOME/mneme/models/mine" && echo '{}' >"$XDG_DATA_HOME/mneme/models/mine/config.json"
complete_line mneme model info mi
offers mine
complete_line mneme export --
offers --salvage
offers --vectors
offers --where
mkdir backups
complete_line mneme backup back
offers backups
touch notes.txt
complete_line mneme index not
offers notes.txt
echo "passed"
