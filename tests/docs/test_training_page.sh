#!/usr/bin/env bash
# docs_training_commands_work: runs the sh block of docs/training.md on a small text, with a model of a few units.
. "$MNEME_SOURCE_DIR/tests/cli/support.sh"
head -c 20000 "$MNEME_SOURCE_DIR/include/mneme.h" >book.txt
awk '$0 == "```sh" { on = 1; next } /^```/ { on = 0 } on { sub(/ *#.*/, ""); print }' "$MNEME_SOURCE_DIR/docs/training.md" >commands
[ "$(wc -l <commands)" -ge 3 ] || fail "docs/training.md has hardly any commands"
while read -r line; do
    case $line in
    *"train lm"*) line="$line --hidden 16 --batch 8 --steps-back 16 --epochs 1" ;;
    *"train sample"*) ;;
    *) continue ;; # encoders need a teacher: tests/cli/test_cli_train_encoder.sh
    esac
    eval "$line" </dev/null >"$work/out" 2>"$work/err" || fail "$line"
    cat "$work/out" >>all
done <commands
grep -qF "Once upon a time" all || fail "no text"
for file in config.json model.safetensors training.safetensors log.jsonl loss.svg; do
    [ -s "book-model/$file" ] || fail "no $file"
    grep -qF "\`$file\`" "$MNEME_SOURCE_DIR/docs/training.md" || fail "docs/training.md does not name $file"
done
# What the page says of a line of the log.
for key in step epoch loss learning_rate gradient_norm tokens_per_second seconds validation_loss; do
    grep -qF "\"$key\"" book-model/log.jsonl || fail "log.jsonl has no $key"
done
echo "passed"
