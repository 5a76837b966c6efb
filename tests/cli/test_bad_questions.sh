#!/usr/bin/env bash
# Questions that cannot be answered, or hardly: each gets a clear answer from query and context.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"
expect 0 mneme init --store "$MNEME_STORE"
expect 0 mneme add "The spare key is under the third flower pot." --id key
expect 0 mneme add "Dinner with Ben at eight." --id dinner
ethiopic=$(printf '\341\210\200\341\210\201\341\210\202\341\210\203')
expect 0 mneme add "$ethiopic" --id ethiopic --namespace other

head -c 1048576 /dev/zero | tr '\0' 'x' >"$work/word"
head -c 1048577 /dev/zero | tr '\0' 'x' >"$work/over"
yes "where is the spare key?" | head -c 1048576 >"$work/long"
printf 'spare\0key' >"$work/nul"
printf 'spare \377\376 key' >"$work/broken"
: >"$work/empty"

for command in query context; do
    # How many
    expect 2 mneme $command key -k 0
    err "-k 0: expected at least 1"
    expect 0 mneme $command key -k 4294967295
    expect 2 mneme $command key -k 4294967296

    # Nothing asked
    expect 2 mneme $command
    expect 2 mneme $command ""
    err "the question is empty"
    expect 2 mneme $command "  "
    expect_input 2 "$work/empty" mneme $command -
    err "the question is empty"

    # Words that only ask: asked as they are, since there are no others.
    expect 0 mneme $command "what did of the"
    expect 0 mneme $command "the" --mode lexical
    out "spare key"
    expect 1 mneme $command "what did" --mode lexical
    err "nothing found"
    expect 1 mneme $command "?!" --mode lexical

    # A megabyte
    expect_input 0 "$work/long" mneme $command - -k 1
    out "spare key"
    expect_input 0 "$work/long" mneme $command - -k 1 --mode lexical
    out "spare key"
    expect_input 2 "$work/over" mneme $command -
    err "over the limit of 1.0 MB"
    expect_input 1 "$work/word" mneme $command - # no token that the encoder knows
    err "the encoder does not know"

    # Bytes that are no text
    expect_input 2 "$work/nul" mneme $command -
    err "NUL"
    expect_input 0 "$work/broken" mneme $command - -k 1
    out "spare key"

    # A script that the encoder does not know: meaning has no say, words have.
    expect 1 mneme $command "$ethiopic" --namespace ""
    silent
    err "the encoder does not know the question's script"
    expect 1 mneme $command "$ethiopic" --mode dense
    expect 0 mneme $command "$ethiopic"
    out "$ethiopic"
    no_out "spare key"
    err "the encoder does not know the question's script"
    expect 0 mneme $command "$ethiopic" --json
    json '.unknown == true'
    expect 0 mneme $command "$ethiopic key" --namespace "" --json
    json 'has("unknown") | not'

    # Nowhere
    expect 1 mneme $command key --namespace othre
    err "there is no namespace 'othre' (did you mean 'other'?)"
    expect 1 mneme $command key --namespace nowhere --json
    json '(.hits // .passages) == []'
done
echo "passed"
