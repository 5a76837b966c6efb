#!/usr/bin/env python3
"""Write permutations.jsonl: values of two runs and the p that scipy.stats.permutation_test gives their difference, by all
swappings for few questions ("exact"), else by a million drawn ones."""
import json
import os

import numpy as np
from scipy import stats

HERE = os.path.dirname(os.path.abspath(__file__))


def p_value(a, b, exact):
    test = stats.permutation_test((b, a), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
                                  n_resamples=np.inf if exact else 1_000_000, batch=10_000, rng=np.random.default_rng(5))
    return float(test.pvalue)


def cases():
    rng = np.random.default_rng(3)
    for n, step, exact in [(3, 0, 1), (6, 0.25, 1), (9, 0.5, 1), (10, 0, 1), (12, 0.1, 1), (14, 0.05, 1), (60, 0, 0), (200, 0.02, 0), (760, 0.1, 0)]:
        a = rng.uniform(0, 1, n)
        b = np.clip(a + rng.normal(0.02, 0.2, n), 0, 1)
        if step:
            a, b = np.round(np.round(a / step) * step, 6), np.round(np.round(b / step) * step, 6)
        yield {"a": np.round(a, 6).tolist(), "b": np.round(b, 6).tolist(), "exact": bool(exact)}


with open(os.path.join(HERE, "permutations.jsonl"), "w", encoding="utf-8") as out:
    for case in cases():
        case["p"] = p_value(np.array(case["a"]), np.array(case["b"]), case["exact"])
        out.write(json.dumps(case) + "\n")
