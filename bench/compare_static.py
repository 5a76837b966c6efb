"""The static encoder of mneme beside model2vec's: both distilled here from the same all-MiniLM-L6-v2, then measured alike.

nDCG@10 is dense retrieval over whole records, computed here for every encoder from its vectors alone (a question's
`namespace` restricts it), not mneme's retrieval. Agreement is with the teacher: Pearson's correlation of all cosines
between 1,000 sentences of the corpus. Tokens per second: texts in, vectors out, tokenizing included, in turn; tokens as
the tokenizer counts them, without special ones."""
import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from tokenizers import Tokenizer

# torch without its CUDA packages (bench/torch-without-cuda) must not be asked for a GPU.
torch.cuda.is_available = lambda: False
from model2vec import StaticModel  # noqa: E402
from model2vec.distill import distill  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mneme")
TEACHER = os.path.join(CACHE, "models", "all-MiniLM-L6-v2")


def one_line(text):
    return " ".join(text.split())


def header(record):
    return (record["title"] + ". " if record.get("title") else "") + (record["speaker"] + ": " if record.get("speaker") else "")


def read_set(folder):
    def lines(name):
        return [json.loads(line) for line in open(os.path.join(folder, name), encoding="utf-8")]
    corpus, queries, judged = lines("corpus.jsonl"), lines("queries.jsonl"), {}
    for line in list(open(os.path.join(folder, "qrels", "test.tsv"), encoding="utf-8"))[1:]:
        query, record, grade = line.split("\t")[:3]
        judged.setdefault(query, {})[record] = float(grade)
    return corpus, queries, judged


def ndcg(folder, encode):
    corpus, queries, judged = read_set(folder)
    names = [r.get("_id") or r["id"] for r in corpus]
    spaces = np.array([r.get("namespace") or "" for r in corpus])
    records = encode([one_line(header(r) + r["text"]) for r in corpus], False)
    questions = encode([one_line(q["text"]) for q in queries], True)
    values = []
    for query, vector in zip(queries, questions):
        grades = judged.get(query.get("_id") or query["id"])
        if not grades:
            continue
        scores = records @ vector
        if query.get("namespace"):
            scores = np.where(spaces == query["namespace"], scores, -2)
        best = np.argsort(-scores, kind="stable")[:10]
        gain = sum(grades.get(names[i], 0) / math.log2(rank + 2) for rank, i in enumerate(best))
        ideal = sum(g / math.log2(rank + 2) for rank, g in enumerate(sorted(grades.values(), reverse=True)[:10]))
        values.append(gain / ideal if ideal else 0)
    return float(np.mean(values))


class Mneme:
    def __init__(self, command, folder, threads):
        self.folder, self.command = folder, [command, "--set", f"encoder.model={folder}/", "--set", f"encoder.threads={threads}"]

    def encode(self, texts, is_query):
        with tempfile.TemporaryDirectory() as work:
            path, out = os.path.join(work, "texts.txt"), os.path.join(work, "vectors.npy")
            open(path, "w", encoding="utf-8").write("\n".join(texts) + "\n")
            subprocess.run([*self.command, "--quiet", "embed", path, "--format", "lines", "--output", out,
                            *(["--query"] if is_query else [])], check=True)
            return np.load(out)

    def speed(self, path, _texts, _tokens):
        out = subprocess.run([*self.command, "bench", path, "--lines", "--encode-only", "--seconds", "1"], check=True,
                             capture_output=True, text=True).stdout
        return json.loads(out)["encode_tokens_per_s"]


class Peer:
    def __init__(self, folder):
        self.folder, self.model = folder, StaticModel.from_pretrained(folder)

    def encode(self, texts, _is_query):
        return self.model.encode(texts).astype(np.float32)

    def speed(self, _path, texts, tokens):
        started = time.perf_counter()
        self.model.encode(texts, use_multiprocessing=False)
        return tokens / (time.perf_counter() - started)


def megabytes(folder):
    return sum(e.stat().st_size for e in os.scandir(folder) if e.is_file() and e.name != "README.md") / 1e6


def make(work, command, data, own_text):
    """Distil with both; (name, encoder, seconds)."""
    made, folder = [], os.path.join(work, "peer")
    started = time.perf_counter()
    if not os.path.isdir(folder):
        distill(TEACHER).save_pretrained(folder)
    made.append(("model2vec", Peer(folder), time.perf_counter() - started))
    variants = {"mneme, plain": ["--rounds", "0"], "mneme": []}
    if own_text:
        variants["mneme, own text"] = [w for s in ("cranfield", "locomo") for w in ("--text", os.path.join(data, s, "corpus.jsonl"))]
    for number, (name, options) in enumerate(variants.items()):
        folder = os.path.join(work, f"ours{number}")
        started = time.perf_counter()
        if not os.path.isdir(folder):
            subprocess.run([command, "--quiet", "model", "distill", "--static", "--from", TEACHER + "/", *options, folder],
                           check=True, stdout=subprocess.DEVNULL)
        made.append((name, Mneme(command, folder, 2), time.perf_counter() - started))
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder that holds cranfield/ and locomo/")
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"), help="the command")
    parser.add_argument("--rounds", type=int, default=5, help="how often speed is measured, in turn")
    parser.add_argument("--no-own-text", action="store_true", help="leave out the variant that is fitted to the sets' corpora")
    parser.add_argument("--keep", help="leave the distilled folders there, and take those that are there already")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    work = args.keep or tempfile.mkdtemp()
    os.makedirs(work, exist_ok=True)
    made = make(work, args.mneme, args.data, not args.no_own_text)
    teacher = Mneme(args.mneme, TEACHER, 2)

    corpus, _, _ = read_set(os.path.join(args.data, "cranfield"))
    sentences = [one_line(s) for r in corpus for s in r["text"].split(" . ") if 80 < len(s) < 220][:1000]
    above = np.triu_indices(len(sentences), 1)
    vectors = teacher.encode(sentences, False)
    cosines = (vectors @ vectors.T)[above]
    abstracts = [one_line(r.get("title", "") + " " + r["text"]) for r in corpus] * 4
    tokenizer = Tokenizer.from_file(os.path.join(TEACHER, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(512)
    tokens = sum(len(e.ids) for e in tokenizer.encode_batch(abstracts, add_special_tokens=False))
    texts = os.path.join(work, "texts.txt")
    open(texts, "w", encoding="utf-8").write("\n".join(abstracts) + "\n")
    speeds = {name: [] for name, _, _ in made}
    for _ in range(args.rounds):
        for name, encoder, _ in made:
            speeds[name].append(encoder.speed(texts, abstracts, tokens))

    rows = [{"encoder": "teacher", **{s: ndcg(os.path.join(args.data, s), teacher.encode) for s in ("cranfield", "locomo")}}]
    for name, encoder, seconds in made:
        own = encoder.encode(sentences, False)
        rows.append({"encoder": name, "distil_s": seconds, "megabytes": megabytes(encoder.folder),
                     "tokens_per_s": statistics.median(speeds[name]), "agreement": float(np.corrcoef(cosines, (own @ own.T)[above])[0, 1]),
                     **{s: ndcg(os.path.join(args.data, s), encoder.encode) for s in ("cranfield", "locomo")}})
    if not args.keep:
        shutil.rmtree(work)
    if args.json:
        print(json.dumps(rows))
        return
    print(f"{'encoder':18} {'distil s':>9} {'MB':>6} {'M tokens/s':>11} {'agreement':>10} {'Cranfield nDCG@10':>18} {'LoCoMo nDCG@10':>15}")
    for r in rows:
        share = [f"{r[s]:.3f} ({r[s] / rows[0][s]:.0%})" for s in ("cranfield", "locomo")]
        if "distil_s" not in r:
            print(f"{r['encoder']:18} {'':>9} {'':>6} {'':>11} {'':>10} {share[0]:>18} {share[1]:>15}")
        else:
            print(f"{r['encoder']:18} {r['distil_s']:9.0f} {r['megabytes']:6.1f} {r['tokens_per_s'] / 1e6:11.2f} {r['agreement']:10.3f} "
                  f"{share[0]:>18} {share[1]:>15}")


if __name__ == "__main__":
    sys.exit(main())
