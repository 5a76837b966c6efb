# support.sh -- sourced by the command's tests: an empty folder to work in, a clean environment, and checks.
#
#   expect CODE COMMAND...   runs it; stdout is in $work/out, stderr in $work/err; fails unless it exits with CODE
#   out TEXT / no_out TEXT   stdout holds (does not hold) TEXT, as it is
#   err TEXT / no_err TEXT   the same for stderr
#   json FILTER              jq -e FILTER on stdout (checked only where jq is installed)
#   interrupt FILE COMMAND...  runs it, and Ctrl-C it once FILE has over 100,000 bytes, if it is not faster

set -eu
export XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}"
work=$(mktemp -d "${TMPDIR:-/tmp}/mneme-cli-XXXXXX")
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" XDG_DATA_HOME="$work/home/data" XDG_CONFIG_HOME="$work/home/config"
for name in $(env | sed -n 's/^\(MNEME_[A-Z_]*\)=.*/\1/p'); do
    case "$name" in MNEME_BUILD_DIR | MNEME_SOURCE_DIR | MNEME_SHARED_DATA | MNEME_ENCODER_CACHE) ;; *) unset "$name" ;; esac
done
unset NO_COLOR || true
export LC_ALL=C.UTF-8 TERM=xterm
mkdir -p "$HOME" "$work/here"
cd "$work/here"

fail() {
    echo "FAILED: $*" >&2
    echo "--- stdout" >&2; head -c 2000 "$work/out" >&2 || true
    echo "--- stderr" >&2; head -c 2000 "$work/err" >&2 || true
    exit 1
}
expect() {
    want=$1
    shift
    got=0
    "$@" >"$work/out" 2>"$work/err" </dev/null || got=$?
    [ "$got" -eq "$want" ] || fail "$* exited with $got, not $want"
}
expect_input() { # the same with standard input: expect_input CODE FILE COMMAND...
    want=$1 input=$2
    shift 2
    got=0
    "$@" >"$work/out" 2>"$work/err" <"$input" || got=$?
    [ "$got" -eq "$want" ] || fail "$* <$input exited with $got, not $want"
}
out() { grep -qF -- "$1" "$work/out" || fail "stdout lacks: $1"; }
no_out() { ! grep -qF -- "$1" "$work/out" || fail "stdout holds: $1"; }
err() { grep -qF -- "$1" "$work/err" || fail "stderr lacks: $1"; }
no_err() { ! grep -qF -- "$1" "$work/err" || fail "stderr holds: $1"; }
silent() { [ ! -s "$work/out" ] || fail "stdout is not empty"; }
json() {
    ! command -v jq >/dev/null 2>&1 || jq -e "$1" "$work/out" >/dev/null || fail "json: $1"
}
interrupt() {
    local file=$1
    shift
    env --default-signal=INT "$@" >"$work/out" 2>"$work/err" </dev/null &
    local child=$!
    for _ in $(seq 2000); do
        [ "$(stat -c %s "$file" 2>/dev/null || echo 0)" -gt 100000 ] && break
        kill -0 "$child" 2>/dev/null || break
        sleep 0.01
    done
    kill -INT "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
}
need_model() {
    [ -f "$XDG_CACHE_HOME/mneme/models/all-MiniLM-L6-v2/model.safetensors" ] || {
        echo "skipped: no model; scripts/setup fetches it"
        exit 77
    }
}
