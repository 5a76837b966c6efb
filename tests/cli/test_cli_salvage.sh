#!/usr/bin/env bash
# mneme export --salvage: of stores with damaged pages. No model is needed: the vectors are made up.
seed=${MNEME_TEST_SEED:-20} trials=20
[ -z "${MNEME_TEST_LONG:-}" ] || trials=2000
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
PAGE=4096 N=600

# N records in three namespaces, some with a long text, some with a vector of their own.
awk -v n=$N 'BEGIN {
    print "{\"mneme_export\":1,\"encoder\":\"made-up\",\"fingerprint\":\"00000000000000ff\",\"dimension\":4}"
    for (i = 1; i <= n; i++) {
        text = "Record " i " says " i * 7919 % 1000 " and " i * 104729 % 977 "."
        for (j = 0; j < i % 7; j++) text = text " Word" (i * 31 + j * 17) % 499
        if (i % 50 == 0) for (j = 0; j < 12000; j++) text = text " w" (i * j) % 8191
        space = i % 3 == 0 ? "notes" : i % 3 == 1 ? "" : "pictures"
        printf "{\"id\":\"r%d\",\"namespace\":\"%s\",\"session\":\"s%d\",\"text\":\"%s\",", i, space, i % 5, text
        if (space == "pictures") printf "\"vector\":[0.600000024,%s0.800000012,0,0]}\n", i % 2 ? "" : "-"
        else printf "\"chunks\":[{\"start\":0,\"end\":%d,\"vector\":[0.5,0.5,%s0.5,0.5]}]}\n", length(text), i % 2 ? "" : "-"
    }
}' >made.jsonl
expect 0 mneme --store sound --set store.vectors=f32 import made.jsonl
expect 0 mneme --store sound check
sort made.jsonl >made.sorted

before=$(cksum <sound/data.mdb)

# A sound store: all of it, nothing to complain of.
expect 0 mneme --store sound export all.jsonl --salvage --vectors --json
json ".records == $N and .problems == 0"
sort all.jsonl | cmp -s - made.sorted || fail "a sound store gives something else"
expect 0 mneme --store sound export --salvage --namespace notes --where 'session = "s1"' --quiet
[ "$(grep -c '"session":"s1"' "$work/out")" -eq "$(wc -l <"$work/out")" ] && [ -s "$work/out" ] || fail "the selection does not hold"
[ "$before" = "$(cksum <sound/data.mdb)" ] || fail "salvage has written to the store"

pages=$(($(stat -c %s sound/data.mdb) / PAGE))
head -c $PAGE /dev/zero >zeros
head -c $PAGE /dev/zero | tr '\0' '\377' >ones
head -c $PAGE made.jsonl >text
damage() { # damage KIND PAGE
    dd if="$1" of=hurt/data.mdb bs=$PAGE seek="$2" count=1 conv=notrunc 2>/dev/null
}
copy() { rm -rf hurt && mkdir hurt && cp sound/data.mdb hurt/; }

# salvage: whatever the damage, it ends; what it gives is right; what is missing is named, or said not to be known.
salvage() {
    got=0
    timeout 300 mneme --store hurt export rest.jsonl --salvage --vectors >"$work/out" 2>"$work/err" </dev/null || got=$?
    case $got in
    0) cp rest.jsonl given.jsonl ;;
    1) cp rest.jsonl given.jsonl ;;
    4) : >given.jsonl; [ -s "$work/err" ] || fail "$1: nothing is said"; return ;;
    *) fail "$1: exit code $got" ;;
    esac
    rm -f rest.jsonl
    sort given.jsonl | comm -23 - made.sorted | grep -v mneme_export >changed || true
    grep -o '^{"id":"r[0-9]*"' changed | cut -d'"' -f4 | while read -r id; do
        grep -qF "\"$id\"" "$work/err" || { echo "$id" >unsaid; break; }
    done
    [ ! -e unsaid ] || fail "$1: record $(cat unsaid) is changed without a word"
    if ! grep -q "more records" "$work/err"; then
        sed -n 's/^{"id":"\(r[0-9]*\)".*/\1/p' given.jsonl | sort >there
        seq -f 'r%g' $N | sort | comm -23 - there | while read -r id; do
            grep -qF "\"$id\"" "$work/err" || { echo "$id" >unsaid; break; }
        done
        [ ! -e unsaid ] || fail "$1: record $(cat unsaid) is lost without a word"
    fi
}
echo "seed $seed"
for trial in $(seq $trials); do
    copy
    kind=$(echo zeros ones text | cut -d' ' -f$((trial % 3 + 1)))
    for i in $(seq $((trial % 5 + 1))); do
        seed=$(((seed * 1103515245 + 12345) % 2147483648))
        damage $kind $((2 + seed / 65536 % (pages - 2)))
    done
    salvage "trial $trial ($kind)"
done

# What was got out makes a new memory.
copy
damage text $((pages / 2))
salvage "the middle page"
expect 0 mneme --store new --set store.vectors=f32 import given.jsonl --namespace x
expect 0 mneme --store new check

# Cut short, without its heads, without anything.
copy
truncate -s $((pages / 2 * PAGE)) hurt/data.mdb
salvage "cut in half"
copy
damage text 0 && damage text 1
expect 4 mneme --store hurt export --salvage
err "hurt"
err "head"
silent
expect 4 mneme --store nowhere export --salvage
expect 4 mneme --store "$work" export --salvage
echo "passed"
