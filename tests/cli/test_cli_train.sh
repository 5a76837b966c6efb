#!/usr/bin/env bash
# mneme train lm and train sample: training, the folder, going on after Ctrl-C and after kill -9, bad input.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
head -c 30000 "$MNEME_SOURCE_DIR/include/mneme.h" >text.txt
small=(--hidden 24 --batch 8 --steps-back 16 --shards 2 --evaluate-every 10 --length 40)

# A run: the folder, the log, the picture, the text.
expect 0 mneme train lm text.txt --out model "${small[@]}" --steps 30
[ "$(wc -c <"$work/out")" -ge 41 ] || fail "no text of 40 characters"
err "step 30 of 30"
err "held out"
err "characters/s"
for file in config.json model.safetensors training.safetensors log.jsonl loss.svg; do [ -s model/$file ] || fail "no $file"; done
[ "$(wc -l <model/log.jsonl)" -eq 30 ] || fail "the log has not 30 lines"
grep -q '^<svg ' model/loss.svg || fail "loss.svg is no picture"
if command -v jq >/dev/null 2>&1; then
    jq -es 'length == 30 and all(.loss > 0 and .learning_rate > 0 and .gradient_norm > 0 and .seconds > 0) and
            (map(select(.validation_loss)) | length) == 3 and .[29].loss < .[0].loss' model/log.jsonl >/dev/null || fail "log.jsonl"
fi

# A folder in use, other options, other text.
expect 2 mneme train lm text.txt --out model "${small[@]}" --steps 30
err "model holds a training run already"
expect 2 mneme train lm text.txt --out model "${small[@]}" --steps 30 --resume --rate 0.5
err "learning rate 0.002, not 0.5"
head -c 29999 text.txt >other.txt
expect 2 mneme train lm other.txt --out model "${small[@]}" --steps 30 --resume
err "texts"
expect 0 mneme train lm text.txt --out model "${small[@]}" --steps 30 --resume
expect 0 mneme train lm text.txt --out model "${small[@]}" --steps 30 --force --json
json '.steps == 30 and .best_loss > 0 and .parameters > 1000 and (.text | length) == 40 and .cancelled == false'
expect 1 mneme train lm text.txt --out fresh "${small[@]}" --resume
err "there is no checkpoint to go on from"

# kill -9 at any time, in any number of pieces, on one thread or two: the same bytes as in one go.
expect 0 mneme train lm text.txt --out whole "${small[@]}" --steps 120 --dropout 0.2 --threads 1
for piece in 1 2 3; do
    arguments=(--out pieces "${small[@]}" --steps 120 --dropout 0.2 --threads $((piece % 2 + 1)) --quiet)
    [ ! -f pieces/training.safetensors ] || arguments+=(--resume)
    mneme train lm text.txt "${arguments[@]}" >/dev/null 2>&1 &
    pid=$!
    for try in $(seq 400); do
        [ -f pieces/log.jsonl ] && [ "$(wc -l <pieces/log.jsonl)" -ge $((piece * 30 - 10)) ] && break
        sleep 0.01
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
done
expect 0 mneme train lm text.txt --out pieces "${small[@]}" --steps 120 --dropout 0.2 --resume
for file in config.json model.safetensors training.safetensors; do cmp "whole/$file" "pieces/$file" || fail "$file differs"; done
[ "$(wc -l <pieces/log.jsonl)" -eq 120 ] || fail "the log of the pieces has not 120 lines"

# Ctrl-C writes a checkpoint and says how to go on; the line that it says does.
if env --default-signal=INT true 2>/dev/null; then
    env --default-signal=INT mneme train lm text.txt --out 'my model' "${small[@]}" --steps 200000 >"$work/out" 2>"$work/err" &
    pid=$!
    for try in $(seq 400); do
        [ -f 'my model/training.safetensors' ] && grep -q "step 10 of" "$work/err" && break
        sleep 0.02
    done
    kill -INT "$pid"
    code=0
    wait "$pid" || code=$?
    [ "$code" -eq 130 ] || fail "Ctrl-C gave $code"
    err "stopped after step"
    err "mneme train lm text.txt --out 'my model' --hidden 24"
    sed -n 's/^  \(mneme train lm .*\)/\1/p' "$work/err" | sed 's/$/ --quiet/' >again.sh
    grep -q -- '--resume' again.sh || fail "no way to go on"
    before=$(wc -l <'my model/log.jsonl')
    env --default-signal=INT bash -c 'eval "exec $(cat again.sh)"' >"$work/out" 2>"$work/err" &
    pid=$!
    for try in $(seq 400); do
        [ "$(wc -l <'my model/log.jsonl')" -gt $((before + 20)) ] && break
        sleep 0.02
    done
    kill -INT "$pid"
    wait "$pid" || true
    [ "$(wc -l <'my model/log.jsonl')" -gt $((before + 20)) ] || fail "it did not go on"
fi

# A damaged checkpoint.
head -c 5000 pieces/training.safetensors >cut && mv cut pieces/training.safetensors
expect 2 mneme train lm text.txt --out pieces "${small[@]}" --steps 120 --dropout 0.2 --resume
err "pieces/training.safetensors"

# A rate that no training survives: it stops, and the model that was there is still good.
expect 4 mneme train lm text.txt --out wild "${small[@]}" --steps 500 --rate 1000 --clip 0 --warm-up 1
err "wild keeps the checkpoint of step"
expect 0 mneme train sample wild --length 10

# Every kind of model, tied and of bytes.
for cell in lstm gru transformer; do
    expect 0 mneme train lm text.txt --out "$cell" "${small[@]}" --cell $cell --steps 10 --tied --bytes --quiet
    expect 0 mneme train sample "$cell" "typedef " --length 20
    out "typedef "
done
expect 0 mneme train lm text.txt --out bf16 "${small[@]}" --steps 30 --precision bf16 --accumulate 2 --force
err "step 30 of 30"
expect 2 mneme train lm text.txt --out bf16 "${small[@]}" --steps 30 --accumulate 2 --resume
err "precision bf16, not f32"

# Samples.
expect 0 mneme train sample model 'typedef ' --length 60 --seed 5
cp "$work/out" first
expect 0 mneme train sample model 'typedef ' --length 60 --seed 5
cmp first "$work/out" || fail "the same seed wrote another text"
expect 0 mneme train sample model 'typedef ' --length 60 --seed 6
! cmp -s first "$work/out" || fail "another seed wrote the same text"
expect 0 mneme train sample model --length 30 --temperature 0 --json
json '.prompt == "" and (.text | length) == 30'
expect 2 mneme train sample model 'a€'
err "U+20AC at byte 1"
expect 2 mneme train sample nowhere
err "nowhere/config.json is missing"

# Texts that cannot be learned from, each with a clear line.
: >empty.txt
printf 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' >one.txt
printf 'good text\xff and bad' >bad.txt
printf 'short' >short.txt
expect 2 mneme train lm empty.txt --out x
err "empty"
expect 2 mneme train lm one.txt --out x
err "one character"
expect 2 mneme train lm text.txt bad.txt --out x
err "bad.txt: byte 9 (0xFF) is not UTF-8"
expect 2 mneme train lm short.txt --out x
err "too few"
expect 4 mneme train lm missing.txt --out x
err "cannot read missing.txt"
[ ! -e x ] || fail "a folder was made for nothing"
expect 2 mneme train lm text.txt
err "--out"
expect 2 mneme train lm --out x
err "text files"
expect 2 mneme train lm text.txt --out x --cell rnn
expect 2 mneme train lm text.txt --out x --dropout 1
expect 2 mneme train
expect 2 mneme train something
err "unknown 'something'"
expect 0 mneme train lm --help
out "mneme train lm book.txt --out book-model"
expect 0 mneme train sample --help
out "Example"

# A full disk.
if [ -w /dev/full ] && ln -s /dev/full full 2>/dev/null; then
    mkdir stuck && ln -s /dev/full stuck/log.jsonl
    expect 4 mneme train lm text.txt --out stuck "${small[@]}" --steps 30
    err "stuck/log.jsonl"
fi
echo "passed"
