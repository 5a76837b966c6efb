"""A store of 87,408 sentences with their 384-d vectors: bytes on disk, time to write it durably, time to open it, one more
record, one dense question; for each type of vector, and beside sqlite-vec, which gets the same vectors and texts but has
neither postings nor an index of ids by name.

The sentences are those of bench/cold-start (Cranfield, and variations of them); the vectors are all encoded, not made up.
They are kept in the cache. The agreement is the share of f32's exact ten nearest that a type's exact ten nearest have, over the
questions of Cranfield and LoCoMo."""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import cold_start

DIMENSION = 384
TYPES = ("f32", "bf16", "int12", "int8")


def prepare(mneme, data, n):
    """Paths of the texts, one a line, and of the raw vectors."""
    texts = os.path.join(cold_start.CACHE, f"bench-sentences-{n}.txt")
    vectors = os.path.join(cold_start.CACHE, f"bench-sentences-{n}.f32")
    if not os.path.exists(vectors):
        print(f"encoding {n:,} sentences into {vectors} ...", file=sys.stderr)
        sentences, randomness = cold_start.read_sentences(data), random.Random(7)
        with open(texts, "w", encoding="utf-8") as file:
            for i in range(n):
                s = sentences[i % len(sentences)]
                file.write((s if i < len(sentences) else cold_start.vary(s, sentences, randomness)) + "\n")
        partial = vectors + ".partial.npy"
        subprocess.run([mneme, "embed", texts, "--output", partial], check=True)
        np.load(partial).astype("<f4").tofile(vectors + ".partial")
        os.remove(partial)
        os.rename(vectors + ".partial", vectors)
    return texts, vectors


def write_sqlite(folder, texts, vectors):
    import apsw
    import sqlite_vec
    path = os.path.join(folder, "peer.db")
    with open(texts, encoding="utf-8") as file:
        lines = file.read().splitlines()
    rows = np.fromfile(vectors, "<f4").reshape(-1, DIMENSION)
    started = time.perf_counter()
    connection = apsw.Connection(path)
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(f"create virtual table memory using vec0(embedding float[{DIMENSION}] distance_metric=cosine, +text text)")
    with connection:
        connection.executemany("insert into memory(rowid, embedding, text) values (?, ?, ?)",
                               ((i, rows[i].tobytes(), lines[i]) for i in range(len(lines))))
    written = time.perf_counter() - started
    asked = []
    for i in range(15):
        begin = time.perf_counter()
        list(connection.execute("select rowid from memory where embedding match ? and k = 10", (rows[i * 7].tobytes(),)))
        asked.append((time.perf_counter() - begin) * 1000)
    connection.close()
    return {"store": "sqlite-vec", "write_s": written, "bytes": os.path.getsize(path), "query_p50_ms": statistics.median(asked)}


def write_mneme(program, folder, texts, vectors, kind, batch, most=None):
    store = os.path.join(folder, "store-" + kind)
    command = [program, store, texts, vectors, str(DIMENSION), str(batch), kind] + ([str(most)] if most else [])
    out = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    shutil.rmtree(store)
    return {"store": "mneme " + kind, **out}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown processor")
    return f"{name}, {os.cpu_count()} cores"


# ---- agreement

def coded(rows, kind):
    if kind == "bf16":
        bits = rows.view(np.uint32).astype(np.uint64)
        return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)
    most = {"int12": 2039, "int8": 127}[kind]
    codes = np.rint(rows * (most / np.abs(rows).max(1, keepdims=True)))
    return (codes / np.linalg.norm(codes, axis=1, keepdims=True)).astype(np.float32)


def nearest(rows, questions):
    best = [np.argpartition(-(questions[i:i + 250] @ rows.T), 10, axis=1)[:, :10] for i in range(0, len(questions), 250)]
    return np.concatenate(best)


def embed_questions(mneme, data, sets=("cranfield", "locomo")):
    texts = []
    for name in sets:
        with open(os.path.join(data, name, "queries.jsonl"), encoding="utf-8") as file:
            texts += [" ".join(json.loads(line)["text"].split()) for line in file]
    return cold_start.embed(mneme, texts).astype(np.float32)


def agreement(vectors, questions):
    rows = np.fromfile(vectors, "<f4").reshape(-1, DIMENSION)
    exact = nearest(rows, questions)
    return {kind: np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, nearest(coded(rows, kind), questions))])
            for kind in TYPES if kind != "f32"} | {"f32": 1.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built store_writer")
    parser.add_argument("--mneme", default=os.path.join(cold_start.ROOT, "build", "mneme"))
    parser.add_argument("--data", default=os.path.join(cold_start.ROOT, "..", "shared", "data"))
    parser.add_argument("--n", type=int, default=87408)
    parser.add_argument("--batch", type=int, default=8192, help="records in a transaction")
    parser.add_argument("--runs", type=int, default=3, help="the median of so many is printed")
    parser.add_argument("--million", action="store_true", help="also 1,000,000 records (int12), sentences repeated with noise")
    parser.add_argument("--folder", help="where the stores are made (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts, vectors = prepare(options.mneme, options.data, options.n)
    agrees, results = agreement(vectors, embed_questions(options.mneme, options.data)), []
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for kind in TYPES + ("sqlite-vec",):
            rows = []
            for _ in range(options.runs):
                if kind == "sqlite-vec":
                    rows.append(write_sqlite(folder, texts, vectors))
                    os.remove(os.path.join(folder, "peer.db"))
                else:
                    rows.append(write_mneme(options.program, folder, texts, vectors, kind, options.batch))
            rows.sort(key=lambda row: row["write_s"])
            results.append({**rows[len(rows) // 2], "agreement": agrees.get(kind)})
        if options.million:
            results.append(write_mneme(options.program, folder, texts, vectors, "int12", options.batch, 1000000))
    if options.json:
        print(json.dumps({"machine": machine(), "results": results}))
        return
    print(f"{machine()}; {options.n:,} sentences, {options.batch:,} a transaction, median of {options.runs}\n")
    print("| store | write s | MB | open ms | one more record ms, p50 / p99 | dense question ms | agreement of ten |")
    print("|---|---|---|---|---|---|---|")
    for r in results:
        name = r["store"] + (f", {r['records']:,} records (second half {r['second_half_s']:.1f} s)" if r.get("records", 0) > options.n else "")
        more = f"{r['add_p50_ms']:.2f} / {r['add_p99_ms']:.2f}" if "add_p50_ms" in r else "-"
        agree = f"{r['agreement']:.4f}" if r.get("agreement") else "-"
        opened = f"{r['open_ms']:.2f}" if "open_ms" in r else "-"
        print(f"| {name} | {r['write_s']:.2f} | {r['bytes'] / 1e6:.1f} | {opened} | {more} | {r['query_p50_ms']:.2f} | {agree} |")


if __name__ == "__main__":
    main()
