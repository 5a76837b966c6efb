"""Write bm25_golden.json: BM25 scores of a small made-up corpus as the package bm25s (method "lucene") gives them.

    pip install bm25s==0.3.16 numpy && python make_bm25_golden.py
"""
import json
import random

import bm25s

random.seed(20)
vocabulary = ["t%d" % i for i in range(40)]
weights = [1.0 / (i + 1) for i in range(40)]
corpus = [random.choices(vocabulary, weights, k=random.randint(1, 30)) for _ in range(60)]
cases = []
for k1, b in ((1.2, 0.75), (1.5, 0.6), (2.0, 0.0)):
    model = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
    model.index(corpus, show_progress=False)
    for question in (["t0"], ["t3", "t7"], ["t5", "t5", "t11"], ["t39", "t1", "t2", "t20"]):
        known = [term for term in question if any(term in document for document in corpus)]
        scores = [float(score) for score in model.get_scores(known)]
        cases.append({"k1": k1, "b": b, "question": known, "scores": scores})
with open("bm25_golden.json", "w", encoding="ascii") as file:
    json.dump({"corpus": corpus, "cases": cases}, file, indent=None, separators=(",", ":"))
    file.write("\n")
