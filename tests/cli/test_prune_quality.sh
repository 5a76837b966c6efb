#!/usr/bin/env bash
# pruning_by_strength_keeps_what_is_asked_for: half a year of one conversation of LoCoMo at a quarter of its turns, with the
# driver of bench/simulated-year. docs/simulated-year.md has the figures of all of them.
set -eu
data=$MNEME_SHARED_DATA/locomo
[ -e "$data/corpus.jsonl" ] || { echo "skipped: no ../shared/data"; exit 77; }
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../bench" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/data/qrels"
for file in corpus.jsonl queries.jsonl; do grep '"namespace": *"conv-30"' "$data/$file" > "$work/data/$file"; done
{ head -n 1 "$data/qrels/test.tsv"; grep '^conv-30/' "$data/qrels/test.tsv"; } > "$work/data/qrels/test.tsv"
python3 -B "$bench/simulated_year.py" --mneme "$(command -v mneme)" --data "$work/data" --years 1 --shares 0.25 \
  --policies strength newest random --json "$work/year.json"
python3 - "$work/year.json" <<'PYTHON'
import json
import sys

rows = {row["policy"]: row for row in json.load(open(sys.argv[1], encoding="utf-8"))["rows"]}
strength, others = rows["strength"], (rows["newest"], rows["random"])
failures = [f"{measure} of {other['policy']} is {other[measure]:.3f}, of strength {strength[measure]:.3f}: expected 0.1 more"
            for other in others for measure in ("unseen", "repeat") if strength[measure] < other[measure] + 0.1]
print("\n".join(failures))
sys.exit(bool(failures))
PYTHON
