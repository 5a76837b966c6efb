#!/usr/bin/env bash
# bench_prints_every_figure: on a short text, and the encoder alone on lines.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
head -c 12000 "$MNEME_SOURCE_DIR/examples/grimms-fairy-tales.txt" > "$work/text.txt"
mneme bench "$work/text.txt" --seconds 0.2 > "$work/out"
for name in processor cores encoder precision kernels texts text_bytes tokens chunks encode_tokens_per_s index_records_per_s \
  query_p50_ms query_p99_ms fresh_process_query_ms peak_memory_mb bytes_on_disk; do
  grep -q "\"$name\":" "$work/out" || { echo "no $name in:"; cat "$work/out"; exit 1; }
done
[ "$(sed -n 's/.*"text_bytes":\([0-9]*\).*/\1/p' "$work/out")" -gt 11000 ] || { echo "most of the text is missing"; cat "$work/out"; exit 1; }
printf 'one line\n\nanother line\n' > "$work/lines.txt"
mneme bench "$work/lines.txt" --lines --encode-only --seconds 0.1 | grep -q '"texts":2,' || { echo "two lines are not two texts"; exit 1; }
code=0; mneme bench > /dev/null 2>&1 || code=$?
[ "$code" -eq 2 ]
code=0; mneme bench "$work/none" > /dev/null 2>&1 || code=$?
[ "$code" -eq 2 ]
