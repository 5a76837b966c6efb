"""A whole question over 87,408 chunks, from its text to the texts of the ten best: encoding, both searches, fusion. Median and 99th
percentile of 985 questions (Cranfield and LoCoMo), warm, one at a time; and the first answer of a fresh process.

mneme asks by meaning and words (hybrid), and by meaning alone, with all-MiniLM-L6-v2, and with a static encoder that
is distilled from it once (kept in the cache); its fresh process is the command. The peer is chroma with MiniLM in
onnxruntime, by meaning alone."""
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
import nearest
import nearest_report
import store

HERE = os.path.dirname(os.path.abspath(__file__))
STATIC = os.path.join(cold_start.CACHE, "bench-static-256")


def write_questions(data, most, folder):
    texts, path = [], os.path.join(folder, "questions.txt")
    for name in ("cranfield", "locomo"):
        with open(os.path.join(data, name, "queries.jsonl"), encoding="utf-8") as file:
            texts += [" ".join(json.loads(line)["text"].split()) for line in file]
    picked = np.linspace(0, len(texts) - 1, min(most, len(texts))).astype(int)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(texts[i] + "\n" for i in picked)
    return path, len(picked)


def static_encoder(mneme):
    if not os.path.exists(os.path.join(STATIC, "model.safetensors")):
        print(f"distilling a static encoder into {STATIC} ...", file=sys.stderr)
        subprocess.run([mneme, "--quiet", "model", "distill", "--static", STATIC, "--from", cold_start.MODEL, "--force"], check=True,
                       stdout=subprocess.DEVNULL)
    return STATIC


def embed(mneme, settings, texts, folder):
    """Path of raw vectors, and their dimension."""
    npy, path = os.path.join(folder, "vectors.npy"), os.path.join(folder, "vectors.f32")
    subprocess.run([mneme, "--quiet", *settings, "embed", texts, "--output", npy], check=True)
    vectors = np.load(npy).astype("<f4")
    vectors.tofile(path)
    return path, vectors.shape[1]


def fresh_command(command, runs):
    took = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took[1:])


def first_line(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def mneme_rows(title, vectors, dimension, pairs, run):
    """Hybrid and dense rows of one encoder; `run` has what main made."""
    options, rows = run["options"], []
    flags = [word for pair in pairs for word in ("--set", pair)]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = os.path.join(folder, "store")
        nearest.spawn([options.program, "write", path, run["texts"], vectors, str(dimension), str(options.n), *pairs])
        if nearest.can_optimize(options.mneme):
            nearest.optimize(options.mneme, path, pairs)
        for mode in ("hybrid", "dense"):
            asked = nearest.spawn([options.program, "warm", path, mode, "10", run["questions"], "0", *pairs])[0]
            command = [options.mneme, "--store", path, "--quiet", *flags, "query", first_line(run["questions"]), "--namespace", "",
                       "--mode", mode, "--json"]
            rows.append({"engine": f"mneme, {title}", "asks": mode, **asked, "fresh_ms": fresh_command(command, options.runs)})
    return rows


def peer_row(vectors, run):
    program, options = [sys.executable, os.path.join(HERE, "hybrid_peer.py")], run["options"]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        nearest.spawn([*program, "build", folder, cold_start.MODEL, vectors, run["texts"]])
        asked = nearest.spawn([*program, "warm", folder, cold_start.MODEL, run["questions"]])[0]
        first = fresh_command([*program, "fresh", folder, cold_start.MODEL, run["questions"]], max(1, options.runs // 3))
    return {"engine": "chroma, MiniLM in onnxruntime f32", "asks": "dense", **asked, "fresh_ms": first}


def markdown(result):
    lines = [f"{result['machine']}; {result['n']:,} chunks, {result['questions']} questions one at a time; {result['date']}", "",
             "| engine | asks | p50 ms | p99 ms | cpu ms, mean | first answer of a fresh process ms |", "|---|---|---|---|---|---|"]
    for row in result["rows"]:
        cpu = f"{row['cpu_ms']:.2f}" if "cpu_ms" in row else "-"
        lines.append(f"| {row['engine']} | {row['asks']} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {cpu} | {row['fresh_ms']:.0f} |")
    return "\n".join(lines)


def svg(result):
    rows, body, y = [{**row, "engine": f"{row['engine']}, {row['asks']}", "recall": 1} for row in result["rows"]], [], 76
    for title, key in (("warm: median ms", "p50_ms"), ("warm: 99th percentile ms", "p99_ms"), ("fresh process, first answer: ms", "fresh_ms")):
        part, y = nearest_report.bars(rows, lambda row: row[key], title, y, 0, left=290)
        body += part
    subtitle = markdown(result).split("\n", 1)[0]
    return nearest_report.frame(760, y, "A whole question, from its text to the ten best; logarithmic bars", subtitle, body)


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built ask_store.c (bench/hybrid gives it)")
    parser.add_argument("--mneme", default=os.path.join(cold_start.ROOT, "build", "mneme"))
    parser.add_argument("--data", default=os.path.join(cold_start.ROOT, "..", "shared", "data"))
    parser.add_argument("--n", type=int, default=87408, help="only so many chunks")
    parser.add_argument("--questions", type=int, default=985, help="only so many questions")
    parser.add_argument("--runs", type=int, default=9, help="fresh processes, of which the median counts")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for mneme; any number of times")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--no-static", action="store_true")
    parser.add_argument("--folder", help="where stores are made (default: a temporary folder)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    return parser.parse_args()


def measure(options, folder):
    texts, vectors = store.prepare(options.mneme, options.data, 87408)
    if options.n < 87408:
        vectors = nearest.cut(vectors, options.n, folder)
    questions, n_questions = write_questions(options.data, options.questions, folder)
    run = {"options": options, "texts": texts, "questions": questions}
    rows = mneme_rows("MiniLM", vectors, nearest.DIMENSION, [f"encoder.model={cold_start.MODEL}", *options.set], run)
    if not options.no_static:
        pairs = [f"encoder.model={static_encoder(options.mneme)}", *options.set]
        fast, dimension = embed(options.mneme, [word for pair in pairs for word in ("--set", pair)], texts, folder)
        rows += mneme_rows("static encoder", fast, dimension, pairs, run)
    if not options.no_peer:
        rows.append(peer_row(vectors, run))
    return {"machine": store.machine(), "date": datetime.date.today().isoformat(), "n": options.n, "questions": n_questions,
            "settings": options.set, "rows": rows}


def main():
    options = read_options()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = measure(options, folder)
    print(markdown(result))
    for path, text in ((options.json, json.dumps(result, indent=1) + "\n"), (options.svg, svg(result))):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


if __name__ == "__main__":
    main()
