#!/usr/bin/env bash
# --explain of query and context: a table, JSON whose parts add up to the score, a page that needs nothing else.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
need_model
export MNEME_STORE="$work/store"
expect 0 mneme init --store "$MNEME_STORE"
expect 0 mneme add "The spare key is under the third flower pot." --id key --title House
expect 0 mneme add "Dinner with Ben at eight. <script>alert('x')</script> & more" --id "<b>dinner" --speaker "A\"na" --time 2023-05-08 --session may
expect 0 mneme add "Ben brought a cake." --id cake --speaker Bea --time 2023-05-09 --session may

# Without --explain there is nothing of it.
expect 0 mneme query "spare key" --json
json 'all(.hits[]; has("explain") | not)'
expect 0 mneme context "spare key" --json
json 'all(.passages[]; (has("explain") or has("score")) | not)'

expect 0 mneme query "dinner with Ben" --explain --json
json 'all(.hits[]; (.score - (.explain | .dense + .lexical + .neighbour + .importance + .strength + .recency)) | fabs < 1e-4)'
json '.hits[] | select(.id == "<b>dinner") | .explain.terms == ["ben", "dinner"]'
expect 0 mneme query "dinner with Ben" --explain --json --set retrieval.recency_weight=0.5 --set retrieval.importance_weight=0.2
json 'all(.hits[]; (.score - (.explain | .dense + .lexical + .neighbour + .importance + .strength + .recency)) | fabs < 1e-4)'
json 'any(.hits[]; .explain.recency > 0) and all(.hits[]; .explain.importance > 0 and .explain.strength == 0)'
expect 0 mneme context "dinner with Ben" --explain --json -k 1
json '[.passages[] | select(.hits > 0)] | length == 1 and all(.[]; (.score - (.explain | .dense + .lexical + .neighbour + .importance)) | fabs < 1e-4)'
json '[.passages[] | select(.hits == 0)] | length == 1 and .[0].score == 0 and .[0].explain.dense == 0'

# The table: after the hits on stdout; beside the window on stderr. Parts that nobody has are left out.
expect 0 mneme query "dinner with Ben" --explain
out "score = dense + lexical"
out "ben, dinner"
no_out "recency"
expect 0 mneme query "dinner with Ben" --explain=table --set retrieval.recency_weight=0.5 --set clock.now=2023-05-10
out "+ recency"
expect 0 mneme context "dinner with Ben" --explain -k 1
no_out "score ="
err "score = dense + lexical"
err "(beside a hit)"

# The page.
for command in query context; do
    expect 0 mneme $command "dinner with <Ben>" --explain=html
    out "<!doctype html>"
    out "dinner with &lt;Ben&gt;"
    out "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more"
    out "&lt;b&gt;dinner"
    no_out "<script"
    no_out "<b>"
    no_out "http:"
    no_out "https:"
    out "prefers-color-scheme:dark"
    out 'class="bar"'
    [ "$(wc -c <"$work/out")" -lt 8000 ] || fail "the page is large"
done
expect 2 mneme query x --explain=html --json
err "does not go with --json"
expect 2 mneme query x --explain=tables
err "table|html"
# A word after --explain belongs to the question.
expect 0 mneme query --explain html spare key --json
json '.query == "html spare key"'
echo "passed"
