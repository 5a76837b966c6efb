#!/usr/bin/env python3
"""Write runs.jsonl: random runs and judgements with the measures that trec_eval (package pytrec_eval) gives them."""
import json
import os
import random

import pytrec_eval

random.seed(11)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "runs.jsonl"), "w", encoding="utf-8") as out:
    for case in range(60):
        docs = ["d%d" % i for i in range(random.choice([5, 30, 200]))]
        judged = random.sample(docs, random.randint(1, min(len(docs), 20)))
        qrels = {d: random.choice([-1, 0, 1, 1, 2, 3]) for d in judged}
        qrels[judged[0]] = random.choice([1, 2])
        ranked = random.sample(docs, random.randint(0, len(docs)))
        scores = {d: float(len(ranked) - i) for i, d in enumerate(ranked)}
        names = {"ndcg_cut.10", "map", "recall.10,20,100", "recip_rank"}
        got = pytrec_eval.RelevanceEvaluator({"q": qrels}, names).evaluate({"q": scores}).get("q") if ranked else None
        first = pytrec_eval.RelevanceEvaluator({"q": qrels}, {"recip_rank"}).evaluate(
            {"q": {d: s for d, s in scores.items() if d in ranked[:10]}}).get("q") if ranked else None
        out.write(json.dumps({
            "run": ranked, "qrels": qrels,
            "ndcg@10": got["ndcg_cut_10"] if got else 0, "map": got["map"] if got else 0,
            "mrr@10": first["recip_rank"] if first else 0,
            "recall@10": got["recall_10"] if got else 0, "recall@20": got["recall_20"] if got else 0,
            "recall@100": got["recall_100"] if got else 0}) + "\n")
