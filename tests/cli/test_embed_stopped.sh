#!/usr/bin/env bash
# embed that was stopped goes on where it was: kill -9, Ctrl-C, a full disk; and the result is that of an undisturbed run,
# byte for byte. Changed inputs and options begin anew. MNEME_TEST_LONG=1: many more moments.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
trials=2
[ -z "${MNEME_TEST_LONG:-}" ] || trials=60

# Lines, some of them empty or broken UTF-8, then JSONL with lines to refuse: three batches of the encoder.
awk 'BEGIN { for (i = 1; i <= 1800; i++) printf "%s\n", i % 50 ? "ship " i * 7 % 101 : "" }' >one.txt
printf 'broken \377 text\n' >>one.txt
awk 'BEGIN { for (i = 1; i <= 1200; i++) printf i % 90 ? "{\"_id\":\"r%d\",\"text\":\"lantern %d\"}\n" : "{\"id\":%d}\n", i, i }' >two.jsonl
embed=(mneme embed one.txt two.jsonl)
start=$(date +%s%N)
expect 3 "${embed[@]}" -o whole.npy
took=$((($(date +%s%N) - start) / 1000000))
cp "$work/err" whole.err
[ "$(grep -c '^mneme: two.jsonl:' whole.err)" -eq 13 ] || fail "13 lines to refuse"
grep -q "2988 vectors of 384 floats" whole.err || fail "2988 vectors"

same() { # FILE: like whole.npy, and nothing left behind
    cmp -s "$1" whole.npy || fail "$1 is not what an undisturbed run gives"
    [ ! -e "$1.part" ] && [ ! -e "$1.part.state" ] || fail "something is left of $1"
}
kept() { sed -n 's/.*"rows":\([0-9]*\).*/\1/p' "$1.part.state"; }
stop_embed() { # SIGNAL MS COMMAND...: run it, and stop it after that time
    local signal=$1 ms=$2 code=0
    shift 2
    env --default-signal=INT "$@" >"$work/out" 2>"$work/err" </dev/null &
    local child=$!
    sleep "$(awk -v ms="$ms" 'BEGIN { print ms / 1000 }')"
    kill -"$signal" "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || code=$?
    stopped=$code
}
stop_with_rows() { # SIGNAL COMMAND...: run it, and stop it once FILE.part.state (of file $part) is there
    local signal=$1 code=0
    shift
    env --default-signal=INT "$@" >"$work/out" 2>"$work/err" </dev/null &
    local child=$!
    for _ in $(seq 2000); do
        [ -e "$part.part.state" ] && break
        kill -0 "$child" 2>/dev/null || break
        sleep 0.01
    done
    kill -"$signal" "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || code=$?
    stopped=$code
}

# kill -9 at any moment, twice in a row.
for trial in $(seq "$trials"); do
    for _ in 1 2; do stop_embed KILL $((took * (RANDOM % 90 + 5) / 100)) "${embed[@]}" -o x.npy; done
    [ ! -e x.npy ] || rm x.npy
    rows=$([ -e x.npy.part.state ] && kept x.npy || echo 0)
    expect 3 "${embed[@]}" -o x.npy
    [ "$rows" -eq 0 ] || err "going on after $rows vectors"
    same x.npy
    echo "killed: $rows vectors kept"
    rm x.npy
done

# After kill -9, bytes beyond those that the state counts do no harm; fewer are noticed.
part=x.npy
stop_with_rows KILL "${embed[@]}" -o x.npy
if [ -e x.npy.part.state ]; then
    rows=$(kept x.npy)
    [ "$rows" -ge 1024 ] || fail "a state of $rows rows: less than a batch"
    echo "rubbish at the end" >>x.npy.part
    cp x.npy.part saved.part && cp x.npy.part.state saved.state
    expect 3 "${embed[@]}" -o x.npy
    err "going on after $rows vectors"
    same x.npy
    back() { cp saved.part x.npy.part && cp saved.state x.npy.part.state; }

    # What is not the same begins anew, and says why; the result is right.
    back && truncate -s 200 x.npy.part
    expect 3 "${embed[@]}" -o x.npy
    err "starting anew" && err "shorter" && same x.npy
    back && head -c 100 saved.state >x.npy.part.state
    expect 3 "${embed[@]}" -o x.npy
    same x.npy
    back
    expect 3 "${embed[@]}" -o x.npy --restart
    no_err "going on" && same x.npy
    back && sed '1s/ship/boat/' one.txt >other && cp one.txt saved.txt && cp other one.txt
    expect 3 "${embed[@]}" -o x.npy
    err "starting anew: the input of x.npy.part has changed"
    expect 3 "${embed[@]}" -o y.npy
    cmp -s x.npy y.npy || fail "a changed input gives something else"
    cp saved.txt one.txt
    head -n 20 one.txt >short.txt
    for change in "--query" "--dim 100" "--type f16" "--format lines"; do
        back
        # shellcheck disable=SC2086
        expect 0 mneme embed short.txt -o x.npy $change
        err "starting anew: x.npy.part was made with another"
        [ ! -e x.npy.part.state ] || fail "the old state is still there"
    done
else
    echo "the machine was faster than the signal"
fi

# Ctrl-C keeps all that was written, and says how to go on.
part=i.npy
stop_with_rows INT "${embed[@]}" -o i.npy
if [ "$stopped" -ne 3 ]; then
    [ "$stopped" -eq 130 ] || fail "Ctrl-C gave $stopped"
    err "vectors are kept in i.npy.part; the same command goes on from there"
fi
expect 3 "${embed[@]}" -o i.npy
same i.npy

# A full disk: written as far as there is room; then there is more room. Other containers, too.
for kind in full.npy full.jsonl full.f32; do
    code=0
    (
        ulimit -f 3000 # KB
        "${embed[@]}" -o "$kind" >"$work/out" 2>"$work/err" </dev/null
    ) || code=$?
    [ "$code" -eq 4 ] || fail "a full disk gave $code"
    err "$kind.part"
    [ ! -e "$kind" ] || fail "half a file"
    expect 3 "${embed[@]}" -o "$kind"
    [ ! -e "$kind.part" ] && [ ! -e "$kind.part.state" ] || fail "something is left of $kind"
done
same full.npy
tail -c +129 whole.npy | cmp -s - full.f32 || fail "raw rows are not those of the .npy"
[ "$(wc -l <full.jsonl)" -eq 2988 ] || fail "lines of full.jsonl"
[ "$(grep -c '"id":"r' full.jsonl)" -eq 1187 ] || fail "ids of full.jsonl"

# Standard input: the same stream goes on, another one is refused and nothing is lost; --restart begins anew.
expect_input 0 one.txt mneme embed - -o in.whole.npy
part=in.npy
stop_with_rows KILL bash -c 'exec mneme embed - -o in.npy <one.txt'
if [ -e in.npy.part.state ]; then
    expect_input 2 two.jsonl mneme embed - -o in.npy
    err "--restart"
    [ -e in.npy.part.state ] || fail "the state is gone"
    expect_input 0 one.txt mneme embed - -o in.npy
    err "going on after"
    cmp -s in.npy in.whole.npy || fail "standard input gives something else"
fi

# Two at once on one file: the second is told so.
mkfifo pipe
mneme embed - -o both.npy <pipe 2>/dev/null &
child=$!
exec 7>pipe
for _ in $(seq 500); do
    [ -e both.npy.part ] && break
    sleep 0.01
done
sleep 0.3
expect_input 4 one.txt mneme embed - -o both.npy
err "another mneme embed is writing it"
echo "a line" >&7
exec 7>&-
wait "$child" || fail "the first of two failed"
grep -aq "'shape': (1, 384)" both.npy || fail "both.npy"
echo "passed"
