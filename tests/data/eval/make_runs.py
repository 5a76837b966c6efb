#!/usr/bin/env python3
"""What trec_eval (package pytrec_eval-terrier) says about random runs and judgements; the tests hold mneme to it.

runs.jsonl    questions one by one: ids from best to worst, judgements, measures
ties.run      a whole TREC run with equal scores, scores that differ only beyond a float, questions without judgements and
ties.qrels    judged ones without an answer, records that nobody judged, grades from -2 to 4
ties.jsonl    each judged question's measures, 0 for those that the run does not answer (trec_eval -c)"""
import json
import os
import random

import pytrec_eval

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {"ndcg": "ndcg", "ndcg@5": "ndcg_cut_5", "ndcg@10": "ndcg_cut_10", "ndcg@100": "ndcg_cut_100", "map": "map", "map@10": "map_cut_10",
         "mrr": "recip_rank", "recall@10": "recall_10", "recall@20": "recall_20", "recall@100": "recall_100", "precision@1": "P_1",
         "precision@10": "P_10", "precision@30": "P_30", "success@1": "success_1", "success@5": "success_5", "success@10": "success_10"}
WANTED = {"ndcg", "ndcg_cut.5,10,100", "map", "map_cut.10", "recip_rank", "recall.10,20,100", "P.1,10,30", "success.1,5,10"}


def measure(qrels, scores):
    """Our names -> values of one question; mrr@10 is the reciprocal rank of trec_eval's own first ten."""
    if not scores:
        return dict.fromkeys([*NAMES, "mrr@10"], 0)
    got = pytrec_eval.RelevanceEvaluator({"q": qrels}, WANTED).evaluate({"q": scores})["q"]
    first = {d: scores[d] for d in in_order(scores)[:10]}
    ten = pytrec_eval.RelevanceEvaluator({"q": qrels}, {"recip_rank"}).evaluate({"q": first})["q"]
    return {ours: got[theirs] for ours, theirs in NAMES.items()} | {"mrr@10": ten["recip_rank"]}


def in_order(scores):
    """Ranked by trec_eval itself: a record's rank is what recip_rank says when it alone is relevant."""
    def rank(record):
        got = pytrec_eval.RelevanceEvaluator({"q": {record: 1}}, {"recip_rank"}).evaluate({"q": scores})
        return round(1 / got["q"]["recip_rank"])
    return sorted(scores, key=rank)


def write(name, lines):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as out:
        out.writelines(line + "\n" for line in lines)


def single_runs():
    random.seed(11)
    for _ in range(60):
        docs = ["d%d" % i for i in range(random.choice([5, 30, 200]))]
        judged = random.sample(docs, random.randint(1, min(len(docs), 20)))
        qrels = {d: random.choice([-1, 0, 1, 1, 2, 3]) for d in judged}
        qrels[judged[0]] = random.choice([1, 2])
        ranked = random.sample(docs, random.randint(0, len(docs)))
        scores = {d: float(len(ranked) - i) for i, d in enumerate(ranked)}
        yield json.dumps({"run": ranked, "qrels": qrels, **measure(qrels, scores)})


def whole_run(seed=12):
    """Lines of a run, of its judgements, and of what each judged question's measures are."""
    random.seed(seed)
    run, qrels, expected = [], [], []
    for q in range(40):
        query, docs = f"q{q}", ["%s%d" % (random.choice("aZ9-_"), i) for i in range(random.choice([4, 40, 150]))]
        judged = {d: random.choice([-2, -1, 0, 0, 1, 1, 2, 4]) for d in random.sample(docs, random.randint(1, len(docs)))}
        judged[random.choice(docs)] = random.choice([1, 3])
        answered = random.sample(docs, random.randint(1, len(docs))) + ["unjudged%d" % i for i in range(random.choice([0, 3, 20]))]
        # Few distinct scores, so that many are equal; some differ in the tenth digit, which a float does not have.
        scores = {d: random.choice([0.5, 1, 1, 2, 3.25]) + random.choice([0, 0, 1e-10]) for d in answered} if q % 8 != 5 else {}
        if q % 8 != 6:
            qrels += [f"{query} 0 {d} {grade}" for d, grade in judged.items()]
            expected.append(json.dumps({"query": query, **measure(judged, scores)}))
        run += [f"{query} Q0 {d} {random.randint(1, 1000)} {s:.12g} random" for d, s in scores.items()]
    random.shuffle(run)
    random.shuffle(qrels)
    return run, qrels, expected


if __name__ == "__main__":
    write("runs.jsonl", single_runs())
    for name, lines in zip(("ties.run", "ties.qrels", "ties.jsonl"), whole_run()):
        write(name, lines)
