"""BM25 over 87,408 sentences (those of bench/store): mneme's postings in LMDB beside bm25s in memory, in one run.

Both get the same terms (mneme's analyzer), k1 1.2, b 0.75, and bm25s the variant "lucene", whose scores are mneme's but for
the factor k1 + 1. Questions of 5 to 15 words: of LoCoMo and Cranfield, and spans of random sentences.

Written: mneme from the texts, durably, without vectors; bm25s from the texts by its own tokenizer, in memory, and saved.
Asked: each question alone, in one thread, mneme with its analyzer and the texts of ten hits, bm25s with the terms ready.
The same: a question's ten rows of mneme are held against the scores that bm25s (float64) gives all rows, sorted, equal ones by
the lower row. bm25s itself takes equal ones as its partition meets them, and variations of a sentence are often equal."""
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

import cold_start
import store

K = 10


def read_questions(data, sentences, n):
    randomness, questions = random.Random(7), []
    for name in ("locomo", "cranfield"):
        with open(os.path.join(data, name, "queries.jsonl"), encoding="utf-8") as file:
            questions += [" ".join(json.loads(line)["text"].split()[:15]) for line in file]
    questions = [q for q in randomness.sample(questions, len(questions)) if len(q.split()) >= 5][:n * 4 // 7]
    while len(questions) < n:
        words, length = randomness.choice(sentences).split(), randomness.randint(5, 15)
        if len(words) >= length:
            first = randomness.randint(0, len(words) - length)
            questions.append(" ".join(words[first:first + length]))
    return questions


def run(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def terms_of(program, mode, path):
    return [line.split() for line in run(program, mode, path).split("\n")[:-1]]


def percentiles(times):
    times = sorted(times)
    return statistics.median(times), times[(len(times) * 99 + 99) // 100 - 1]


# ---- bm25s

def index_bm25s(terms, backend, dtype="float32"):
    import bm25s
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend=backend, dtype=dtype)
    model.index(terms, show_progress=False)
    return model


def write_bm25s(sentences, folder):
    import bm25s
    started = time.perf_counter()
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    model.index(bm25s.tokenize(sentences, show_progress=False), show_progress=False)
    model.save(os.path.join(folder, "bm25s"))
    return time.perf_counter() - started


def ask_bm25s(model, questions, rounds):
    took = []
    for round_number in range(rounds + 1):
        for terms in questions:
            started = time.perf_counter()
            model.retrieve([terms], k=K, show_progress=False, n_threads=0)
            if round_number:
                took.append((time.perf_counter() - started) * 1000)
    return percentiles(took)


# ---- the same?

def compare(model, questions, hits):
    """How many questions have exactly the ten rows that bm25s's scores (float64) give, equal scores by the lower row; how many
    have them but for the rounding of the last digits; the numbers of all others; and how many of bm25s's own answers, which take
    equal scores as they come, have the same rows."""
    exact, rounding, different, same_rows = 0, 0, [], 0
    for number, (terms, found) in enumerate(zip(questions, hits)):
        known = [t for t in terms if t in model.vocab_dict]
        scores = model.get_scores(known) if known else np.zeros(model.scores["num_docs"])
        order = np.lexsort((np.arange(len(scores)), -scores))[:K]
        order = order[scores[order] > 0]
        mine = scores[found] if found else np.zeros(0)
        if list(order) == found:
            exact += 1
        elif len(order) == len(found) and np.allclose(mine, scores[order], rtol=1e-6, atol=0):
            rounding += 1
        else:
            different.append(number)
        theirs = model.retrieve([known], k=K, show_progress=False)[0][0] if known else []
        same_rows += sorted(int(row) for row in theirs[:len(order)]) == sorted(found)
    return exact, rounding, different, same_rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built words_driver")
    parser.add_argument("--mneme", default=os.path.join(cold_start.ROOT, "build", "mneme"))
    parser.add_argument("--data", default=os.path.join(cold_start.ROOT, "..", "shared", "data"))
    parser.add_argument("--n", type=int, default=87408)
    parser.add_argument("--questions", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=8192, help="records in a transaction")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts, _ = store.prepare(options.mneme, options.data, options.n)
    with open(texts, encoding="utf-8") as file:
        sentences = file.read().split("\n")[:-1]
    with tempfile.TemporaryDirectory() as folder:
        questions, hits, memory = (os.path.join(folder, name) for name in ("questions", "hits", "store"))
        with open(questions, "w", encoding="utf-8") as file:
            file.write("\n".join(read_questions(options.data, sentences, options.questions)) + "\n")
        written = json.loads(run(options.program, "write", memory, texts, options.batch))
        write_s = write_bm25s(sentences, folder)
        terms, asked = terms_of(options.program, "terms", texts), terms_of(options.program, "question-terms", questions)
        results = [{"engine": "mneme", "write_s": written["write_s"]},
                   {"engine": "bm25s, numpy", "write_s": write_s},
                   {"engine": "bm25s, numba", "write_s": None}]
        mneme = json.loads(run(options.program, "ask", memory, questions, K, options.rounds, hits))
        results[0].update(p50_ms=mneme["p50_ms"], p99_ms=mneme["p99_ms"], cpu_p50_ms=mneme["cpu_p50_ms"],
                          cpu_p99_ms=mneme["cpu_p99_ms"], bytes=written["bytes"])
        for result, backend in zip(results[1:], ("numpy", "numba")):
            result["p50_ms"], result["p99_ms"] = ask_bm25s(index_bm25s(terms, backend), asked, options.rounds)
        with open(hits, encoding="utf-8") as file:
            found = [[int(hit.split(":")[0]) for hit in line.split()] for line in file]
    exact, rounding, different, same_rows = compare(index_bm25s(terms, "numpy", "float64"), asked, found)
    if options.json:
        print(json.dumps({"machine": store.machine(), "results": results, "exact": exact, "rounding": rounding,
                          "different": different, "same_rows": same_rows}))
        return
    print(f"{store.machine()}; {options.n:,} sentences, {options.batch:,} a transaction, {len(asked)} questions x {options.rounds}\n")
    print("| engine | written s | p50 ms | p99 ms |\n|---|---|---|---|")
    for r in results:
        print(f"| {r['engine']} | {r['write_s']:.2f} |" if r["write_s"] else f"| {r['engine']} | as above |", end="")
        print(f" {r['p50_ms']:.2f} | {r['p99_ms']:.2f} |")
    print(f"\nmneme's own processor time: p50 {results[0]['cpu_p50_ms']:.2f} ms, p99 {results[0]['cpu_p99_ms']:.2f} ms; "
          f"{results[0]['bytes'] / 1e6:.1f} MB.")
    print(f"The ten best: of {len(asked)} questions {exact} exactly as bm25s scores them (equal scores by the lower row), {rounding} "
          f"but for rounding, {len(different)} different {different[:20] if different else ''}. bm25s's own ten, equal scores as they "
          f"come, are the same rows {same_rows} times.")
    if different:
        sys.exit(1)


if __name__ == "__main__":
    main()
