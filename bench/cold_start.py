"""How long a fresh `mneme query` takes over a store of 100,000 chunks, with a warm page cache, and what it goes into.

The store is made once in ~/.cache/mneme: real sentences (Cranfield), each in variations with a few words of others; the
sentences are encoded, a variation's vector is its sentence's with noise, and both go in as JSONL.

Where the time goes is told by processes that do less: `--version` starts and links; `embed` opens the encoder as well and
encodes a line; `query --mode lexical` opens the store and searches words; `query` does all of it. Beside them, Python with what
it needs for the same: the imports, and encoding one question without any search."""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mneme")
MODEL = os.path.join(CACHE, "models", "all-MiniLM-L6-v2")
QUESTION = "what is the drag of a slender body at supersonic speed"
SENTENCES = 4000  # that are encoded; all others are variations


# ---- the store

def read_sentences(data):
    sentences = []
    with open(os.path.join(data, "cranfield", "corpus.jsonl"), encoding="utf-8") as file:
        for line in file:
            sentences += [" ".join(s.split()) for s in json.loads(line)["text"].split(" . ") if 60 < len(s) < 260]
    return sentences[:SENTENCES]


def embed(mneme, sentences):
    with tempfile.TemporaryDirectory() as folder:
        texts, vectors = os.path.join(folder, "texts.txt"), os.path.join(folder, "vectors.npy")
        with open(texts, "w", encoding="utf-8") as file:
            file.write("\n".join(sentences) + "\n")
        subprocess.run([mneme, "--quiet", "embed", texts, "--output", vectors], check=True)
        return np.load(vectors)


def vary(sentence, others, randomness):
    words = sentence.split()
    for _ in range(max(1, len(words) // 5)):
        words[randomness.randrange(len(words))] = randomness.choice(randomness.choice(others).split())
    return " ".join(words)


def records(sentences, vectors, n):
    randomness, noise = random.Random(7), np.random.default_rng(7)
    for i in range(n):
        s, vector = i % len(sentences), vectors[i % len(sentences)]
        text = sentences[s]
        if i >= len(sentences):
            text = vary(text, sentences, randomness)
            vector = vector + noise.normal(0, 0.5 / np.sqrt(len(vector)), len(vector))
        whole = np.rint(vector * 10000).astype(int).tolist()  # vectors are scaled to unit length when stored
        yield json.dumps({"id": str(i), "text": text, "vector": whole}, separators=(",", ":")) + "\n"


def make_store(mneme, data, n):
    """Path of the store; made if it is not there. One encoded record in a namespace of its own names the encoder."""
    store = os.path.join(CACHE, f"bench-store-{n}-format-2")
    if os.path.exists(os.path.join(store, "complete")):
        return store
    print(f"making a store of {n:,} chunks in {store} ...", file=sys.stderr)
    subprocess.run(["rm", "-rf", store], check=True)
    sentences = read_sentences(data)
    vectors = embed(mneme, sentences)
    index = [mneme, "--store", store, "--quiet", "--set", "index.batch_records=8192", "index", "-", "--format", "jsonl"]
    subprocess.run(index, input='{"id":"encoder","namespace":"encoder","text":"a sentence"}\n', text=True, check=True)
    process = subprocess.Popen(index, stdin=subprocess.PIPE, text=True)
    for line in records(sentences, vectors, n):
        process.stdin.write(line)
    process.stdin.close()
    if process.wait() != 0:
        sys.exit("the store could not be made")
    open(os.path.join(store, "complete"), "w").close()
    return store


# ---- processes

def run(command, runs, environment=None):
    """Median wall ms of whole processes, with the median CPU ms and page faults; the first run warms up."""
    rows = []
    for i in range(runs + 1):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}: {complaint.decode()}")
        if i:
            rows.append((wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000, usage.ru_minflt))
    return dict(zip(("wall_ms", "cpu_ms", "page_faults"), (statistics.median(column) for column in zip(*rows))),
                least_ms=min(row[0] for row in rows))


def took_ms(command, runs):
    done = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(runs)]
    return statistics.median(json.loads(out)["took_ms"] for out in done)


def mneme_rows(mneme, store, settings, runs):
    base = [mneme, *settings]
    query = [*base, "--store", store, "query", QUESTION, "--namespace", "", "--json"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(QUESTION + "\n")
        file.flush()
        rows = {"mneme --version": run([mneme, "--version"], runs),
                "mneme embed (one line)": run([*base, "embed", file.name, "--json"], runs),
                "mneme query --mode lexical": run([*query, "--mode", "lexical"], runs),
                "mneme query --mode dense": run([*query, "--mode", "dense"], runs),
                "mneme query": run(query, runs)}
    rows["mneme query"]["took_ms"] = took_ms(query, runs)
    return rows


def shares(rows):
    """The parts of one hybrid query, by subtraction."""
    wall = {name: row["wall_ms"] for name, row in rows.items()}
    start, all_of_it = wall["mneme --version"], wall["mneme query"]
    encoder, words = wall["mneme embed (one line)"] - start, wall["mneme query --mode lexical"] - start
    parts = {"start and linking": start, "opening the encoder, one encoding": encoder, "opening the store, words": words,
             "vectors and fusion": all_of_it - start - encoder - words}
    return {name: {"ms": ms, "share": ms / all_of_it} for name, ms in parts.items()}


ONNXRUNTIME = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy, onnxruntime
from tokenizers import Tokenizer
ids = numpy.array([Tokenizer.from_file(sys.argv[2] + "/tokenizer.json").encode(sys.argv[4]).ids], numpy.int32)
session = onnxruntime.InferenceSession(sys.argv[3], providers=["CPUExecutionProvider"])
session.run(None, {"ids": ids, "types": ids * 0, "mask": ids * 0 + 1})[0].mean(1)
"""
SENTENCE_TRANSFORMERS = """
import sys
from sentence_transformers import SentenceTransformer
SentenceTransformer(sys.argv[2], device="cpu").encode(sys.argv[4])
"""


def python_rows(runs):
    import onnx
    sys.path.insert(0, os.path.join(ROOT, "bench"))
    from bert_models import onnx_model
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        onnx.save(onnx_model(MODEL), file.name)
        programs = {"python: import onnxruntime": "import onnxruntime",
                    "python: onnxruntime, load, encode one line": ONNXRUNTIME,
                    "python: import sentence_transformers": "import sentence_transformers",
                    "python: sentence_transformers, load, encode one line": SENTENCE_TRANSFORMERS}
        return {name: run([sys.executable, "-c", program, os.path.join(ROOT, "bench"), MODEL, file.name, QUESTION], runs, environment)
                for name, program in programs.items()}


def show(result):
    print(f"{result['processor']}, {result['chunks']:,} chunks, page cache warm, median of {result['runs']} processes\n")
    print("| process | wall ms (least) | cpu ms | page faults |\n|---|---|---|---|")
    for name, row in result["processes"].items():
        print(f"| {name} | {row['wall_ms']:.1f} ({row['least_ms']:.1f}) | {row['cpu_ms']:.1f} | {row['page_faults']:,.0f} |")
    query = result["processes"]["mneme query"]
    print(f"\nOf the query's {query['wall_ms']:.1f} ms (took_ms {query['took_ms']:.1f}):\n\n| part | ms | share |\n|---|---|---|")
    for name, part in result["parts"].items():
        print(f"| {name} | {part['ms']:.1f} | {part['share']:.0%} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder that holds cranfield/")
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"), help="the command (default: build/mneme)")
    parser.add_argument("--chunks", type=int, default=100000)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for mneme; any number of times")
    parser.add_argument("--no-peers", action="store_true", help="without the Python processes")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    store = make_store(args.mneme, args.data, args.chunks)
    settings = [word for setting in args.set for word in ("--set", setting)]
    rows = mneme_rows(args.mneme, store, settings, args.runs)
    parts = shares(rows)
    if not args.no_peers:
        rows.update(python_rows(max(1, args.runs // 5)))
    processor = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    result = {"processor": processor, "chunks": args.chunks, "runs": args.runs, "settings": args.set, "processes": rows, "parts": parts}
    show(result)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            file.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
