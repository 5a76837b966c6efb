#!/usr/bin/env bash
# What embed reads and writes, where names and beginnings of files are not what they should be.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
model=$work/model
mkdir "$model"
"$MNEME_BUILD_DIR/tests/cli/tiny_bert" "$model" 7
embed() { mneme embed --set encoder.model="$model/" "$@"; }
printf '%s\n' "a cab" "y in a box" >texts.txt
expect 0 embed texts.txt -o whole.npy
rows_of() { head -c 128 "$1" | grep -ao "'shape': ([0-9]*" | tr -dc 0-9; }
[ "$(rows_of whole.npy)" = 2 ] || fail "two rows"

# An input that cannot be read is passed over; where none can be, what has the output's name stays.
cp whole.npy kept.npy
for wrong in missing.txt .; do
    expect 3 embed "$wrong" -o kept.npy
    cmp kept.npy whole.npy || fail "$wrong: the output is another one"
    err "nothing was written"
    [ ! -e kept.npy.part ] && [ ! -e kept.npy.part.state ] || fail "something is left"
    expect 3 embed "$wrong" texts.txt -o both.npy
    cmp both.npy whole.npy || fail "$wrong: not the vectors of the other file"
done
expect 0 embed /dev/null -o none.npy
[ "$(rows_of none.npy)" = 0 ] || fail "an empty input has no rows"

# A byte-order mark is no part of the first line, in lines and in JSONL, from files and from standard input.
{ printf '\xef\xbb\xbf'; cat texts.txt; } >marked.txt
expect 0 embed marked.txt -o marked.npy
cmp marked.npy whole.npy || fail "a mark before lines"
printf '{"id":"1","text":"a cab"}\n{"id":"2","text":"y in a box"}\n' >records.jsonl
{ printf '\xef\xbb\xbf'; cat records.jsonl; } >marked.jsonl
expect 0 embed records.jsonl
cp "$work/out" expected
expect 0 embed marked.jsonl
cmp "$work/out" expected || fail "a mark before JSONL"
expect_input 0 marked.jsonl embed
cmp "$work/out" expected || fail "a mark before JSONL on standard input"

# JSONL whose first line is damaged is not encoded as it stands.
printf '{"id":"1","text":"a cab",}\n{"id":"2","text":"y in a box"}\n' >damaged
expect_input 3 damaged embed
err "-:1:"
[ "$(cat "$work/out")" = "$(tail -n 1 expected)" ] || fail "the second line has its vector, and nothing else"
expect_input 0 damaged embed --format lines
[ "$(wc -l <"$work/out")" -eq 2 ] || fail "--format lines takes them as they stand"

# The output: behind a link, with the mode that it had; what is no file is let be.
echo old >real.npy
chmod 640 real.npy
ln -s real.npy link.npy
expect 0 embed texts.txt -o link.npy
[ -L link.npy ] && cmp -s real.npy whole.npy || fail "the file behind the link"
[ "$(stat -c %a real.npy)" = 640 ] || fail "the mode is $(stat -c %a real.npy)"
mkfifo pipe.npy
expect 4 embed texts.txt -o pipe.npy
err "it is no file"
[ -p pipe.npy ] || fail "the pipe is gone"

# For programs.
expect 0 embed texts.txt -o a.npy --json
json '.rows == 2 and .columns == 16 and .type == "f32" and .refused == 0 and (.output | endswith("/a.npy"))'

# A state whose numbers contradict one another is not believed. The prompt is its text: none by two names.
yes "a cab in a box" | head -n 60000 >many.txt
expect 0 embed many.txt -o many.npy
interrupt x.npy.part mneme embed --set encoder.model="$model/" many.txt -o x.npy
if [ -e x.npy.part.state ]; then
    cp x.npy.part part
    cp x.npy.part.state state
    expect 0 embed many.txt --prompt-text "" -o x.npy
    err "going on"
    cmp x.npy many.npy || fail "gone on with the same prompt by another name"
    rm x.npy
    for change in 's/"rows":[0-9]*/"rows":99999999/' 's/"bytes":[0-9]*/"bytes":200/'; do
        cp part x.npy.part
        sed "$change" state >x.npy.part.state
        expect 0 embed many.txt -o x.npy
        err "starting anew"
        cmp x.npy many.npy || fail "$change was believed"
        rm x.npy
    done
else
    echo "the machine was faster than the signal"
fi
echo "passed"
