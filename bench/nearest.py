"""Nearest neighbours in 87,408 real vectors of 384 numbers, mneme beside the usual indexes and stores, each at the smallest
ef with which it finds 99.5 % of the true ten nearest.

One question at a time: median and 99th percentile of 985 (Cranfield and LoCoMo), warm; the time to build, disk, memory that is
resident after all questions, beyond what the process had after its imports; and a fresh process that opens and answers one
question, vector given, with the part of it that is after the imports. mneme, sqlite-vec and chroma give the texts with the answer;
the others keep vectors alone. mneme: the whole of mneme_query, in C.

--million   1,000,000 vectors (the real ones repeated with noise) for mneme, hnswlib and usearch
--growth    mneme alone at several sizes, with a fitted power law"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import cold_start
import nearest_report
import store

DIMENSION, K = store.DIMENSION, 10
RECALLS = "0.95,0.98,0.99,0.995,0.998,0.999,0.9999"
HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = "hnswlib,usearch-bf16,usearch-i8,faiss-hnsw,faiss-flat,sqlite-vec,chroma"


# ---- data

def many_vectors(vectors, n):
    """Path of n rows: the real ones, then the same again with noise, unit length; kept in the cache."""
    path = os.path.join(cold_start.CACHE, f"bench-sentences-{n}-noise.f32")
    if not os.path.exists(path):
        print(f"writing {n:,} vectors to {path} ...", file=sys.stderr)
        rows, randomness = np.fromfile(vectors, "<f4").reshape(-1, DIMENSION), np.random.default_rng(7)
        with open(path + ".partial", "wb") as file:
            for first in range(0, n, len(rows)):
                some = rows[:n - first]
                if first:
                    some = some + randomness.uniform(-0.03, 0.03, some.shape).astype(np.float32)
                    some /= np.linalg.norm(some, axis=1, keepdims=True)
                some.astype("<f4").tofile(file)
        os.rename(path + ".partial", path)
    return path


def cut(vectors, n, folder):
    """Path of the first n rows."""
    path = os.path.join(folder, f"{n}.f32")
    np.memmap(vectors, "<f4", "r")[:n * DIMENSION].tofile(path)
    return path


def write_truth(vectors, questions, folder):
    """Path of the score of each question's tenth nearest."""
    rows = np.memmap(vectors, "<f4", "r").reshape(-1, DIMENSION)
    best = np.empty((len(questions), 0), np.float32)
    for i in range(0, len(rows), 20000):
        best = np.concatenate([best, questions @ rows[i:i + 20000].T], axis=1)
        best = -np.partition(-best, K - 1, axis=1)[:, :K]
    path = os.path.join(folder, "truth.npy")
    np.save(path, best.min(1))
    return path


class Data:
    """The vectors, texts and questions of one run, and what is true of them."""

    def __init__(self, vectors, texts, questions, folder):
        self.vectors, self.texts, self.folder = vectors, texts, folder
        self.questions = os.path.join(folder, "questions.f32")
        questions.tofile(self.questions)
        self.rows = np.memmap(vectors, "<f4", "r").reshape(-1, DIMENSION)
        self.asked, self.truth = questions, write_truth(vectors, questions, folder)

    def recall(self, answers):
        """As nearest_peers.recall; answers: for each question the row numbers."""
        least = np.load(self.truth) - 1e-6
        right = sum(int((self.rows[found[:K]] @ q >= t).sum()) for found, q, t in zip(answers, self.asked, least))
        return right / (K * len(self.asked))


# ---- processes

def spawn(command):
    """(first line as JSON, the other lines, wall ms)"""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = (time.perf_counter() - started) * 1000
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RuntimeError(f"{' '.join(command[:4])}: {said}")
    lines = done.stdout.splitlines()
    return json.loads(lines[0]), lines[1:], wall


def fresh(command, runs):
    rows = [(wall, out["inside_ms"]) for out, _, wall in (spawn(command) for _ in range(runs + 1))][1:]
    return {"fresh_ms": statistics.median(r[0] for r in rows), "fresh_inside_ms": statistics.median(r[1] for r in rows)}


def peer_row(name, data, options):
    program = [sys.executable, os.path.join(HERE, "nearest_peers.py")]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        built = spawn([*program, "build", name, folder, data.vectors, data.texts])[0]
        tuned = spawn([*program, "tune", name, folder, data.questions, data.truth, data.vectors, str(options.recall)])[0]
        asked = spawn([*program, "warm", name, folder, data.questions, str(tuned["ef"])])[0]
        first = fresh([*program, "fresh", name, folder, data.questions, str(tuned["ef"])], options.runs)
    return {**tuned, **built, **asked, **first}


def mneme_ask(program, path, data, options, settings):
    question = [path, "dense", str(K), data.questions, str(DIMENSION), *settings]
    asked, lines, _ = spawn([program, "warm", *question])
    answers = [[int(name) for name in line.split()] for line in lines]
    return {**asked, "recall": data.recall(answers), **fresh([program, "fresh", *question], options.runs)}


def can_optimize(mneme):
    return "\n  optimize " in subprocess.run([mneme, "--help"], capture_output=True, text=True, check=True).stdout


def size_of(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def optimize(mneme, path, settings, recall=None):
    """(seconds, what it says of the unnamed namespace's index)"""
    flags, asked = [word for pair in settings for word in ("--set", pair)], ["--recall", str(recall), "--anew"] if recall else []
    started = time.perf_counter()
    done = subprocess.run([mneme, "--store", path, *flags, "optimize", "--json", *asked], check=True, capture_output=True, text=True)
    took = time.perf_counter() - started
    return took, next((one for one in json.loads(done.stdout)["indexes"] if one["namespace"] == ""), {})


def index_row(path, data, options, settings):
    """Tuned as the peers are: with the least recall asked of optimize that finds options.recall of these questions' nearest. None:
    too small for an index."""
    row, tried = None, []
    for recall in options.ask_recall:
        took, index = optimize(options.mneme, path, settings, recall)
        if index.get("kind", "none") == "none":
            return None
        asked = mneme_ask(options.program, path, data, options, settings)
        tried.append({"recall_asked": recall, **{key: index.get(key) for key in ("recall", "effort")}, "found": asked["recall"],
                      "p50_ms": asked["p50_ms"]})
        if row is None or asked["recall"] > row["recall"]:
            row = {"engine": "mneme, index", "version": index["kind"], "ef": index.get("effort"), "recall_asked": recall, "build_s": took,
                   "bytes": size_of(path), **asked}
        if row["recall"] >= options.recall:
            break
    return {**row, "tried": tried}


def mneme_rows(data, options, scan=True):
    """The exact scan of the fresh store, then the index that optimize builds, where this build has it."""
    has_index, rows = can_optimize(options.mneme), []
    settings = (["index.build=manual"] if has_index else []) + options.set
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path, n = os.path.join(folder, "store"), str(len(data.rows))
        written = spawn([options.program, "write", path, data.texts, data.vectors, str(DIMENSION), n, *settings])[0]["write_s"]
        if scan:
            rows.append({"engine": "mneme, exact scan", "build_s": 0, "bytes": size_of(path),
                         **mneme_ask(options.program, path, data, options, settings)})
        rows.append(index_row(path, data, options, settings) if has_index else None)
        if not has_index:
            print("this mneme has no optimize: exact scan alone", file=sys.stderr)
    return [{"write_s": written, **row} for row in rows if row]


def compare(data, names, options, scan=True):
    rows = mneme_rows(data, options, scan or not can_optimize(options.mneme))
    for name in filter(None, names):
        print(f"{name} ...", file=sys.stderr)
        try:
            rows.append(peer_row(name, data, options))
        except RuntimeError as problem:  # the others are measured all the same
            print(f"without {name}: {problem}", file=sys.stderr)
    return rows


def measure_growth(vectors, texts, questions, options):
    rows = []
    for n in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            data = Data(cut(vectors, n, folder), texts, questions, folder)
            rows += [{"n": n, **row} for row in mneme_rows(data, options)]
    return rows


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built ask_store.c (bench/nearest gives it)")
    parser.add_argument("--mneme", default=os.path.join(cold_start.ROOT, "build", "mneme"))
    parser.add_argument("--data", default=os.path.join(cold_start.ROOT, "..", "shared", "data"))
    parser.add_argument("--peers", default=PEERS, help=f"with commas (default: {PEERS}; \"\" for none)")
    parser.add_argument("--recall", type=float, default=0.995, help="what ef is chosen for")
    parser.add_argument("--ask-recall", type=lambda text: [float(r) for r in text.split(",")], default=RECALLS,
                        help=f"what to ask of `mneme optimize`, until it is enough; it tunes on the store's own vectors (default: {RECALLS})")
    parser.add_argument("--n", type=int, default=87408, help="only so many vectors")
    parser.add_argument("--questions", type=int, default=985, help="only so many questions")
    parser.add_argument("--sets", default="cranfield,locomo", help="whose questions; the vectors are Cranfield's sentences, so that "
                        "LoCoMo's are questions about something else")
    parser.add_argument("--runs", type=int, default=9, help="fresh processes, of which the median counts")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for mneme; any number of times")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[10000, 100000, 1000000])
    parser.add_argument("--folder", help="where stores and indexes are made (default: a temporary folder)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE", help="bars, or with --growth curves")
    return parser.parse_args()


def main():
    options = read_options()
    texts, vectors = store.prepare(options.mneme, options.data, 87408)
    questions = store.embed_questions(options.mneme, options.data, options.sets.split(","))
    questions = questions[np.linspace(0, len(questions) - 1, min(options.questions, len(questions))).astype(int)]
    result = {"machine": store.machine(), "date": datetime.date.today().isoformat(), "questions": len(questions),
              "sets": options.sets, "recall": options.recall, "settings": options.set}
    if options.growth:
        vectors = many_vectors(vectors, max(options.sizes)) if max(options.sizes) > 87408 else vectors
        result["growth"] = measure_growth(vectors, texts, questions, options)
    else:
        names = options.peers.split(",")
        if options.million:
            vectors, names = many_vectors(vectors, 1000000), [name for name in names if name in ("hnswlib", "usearch-bf16")]
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            if options.n < 87408 and not options.million:
                vectors = cut(vectors, options.n, folder)
            data = Data(vectors, texts, questions, folder)
            result.update(n=len(data.rows), rows=compare(data, names, options, scan=not options.million))
    print(nearest_report.markdown(result))
    for path, text in ((options.json, json.dumps(result, indent=1) + "\n"), (options.svg, nearest_report.svg(result))):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


if __name__ == "__main__":
    main()
