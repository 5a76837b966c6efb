"""`mneme eval` beside pytrec_eval and scipy on random runs: every measure of every question, and the p of comparisons.

The runs have equal scores, scores that differ only beyond a float, questions without judgements and judged ones without an
answer, records that nobody judged, grades from -2 to 4 (tests/data/eval/make_runs.py, with a new seed each time)."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
from scipy import stats

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "data", "eval"))
import make_runs  # noqa: E402

MEASURES = [*make_runs.NAMES, "mrr@10"]


def write(folder, name, lines):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    return path


def mneme_lines(mneme, *arguments):
    done = subprocess.run([mneme, "--quiet", "eval", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"mneme eval {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def differences(mneme, folder, seed):
    """(values that were compared, the largest difference, expected lines, paths)"""
    run, qrels, expected = make_runs.whole_run(seed)
    run, qrels = write(folder, f"{seed}.run", run), write(folder, "qrels", qrels)
    lines = mneme_lines(mneme, "--qrels", qrels, "--score", run, "--per-query", "-", "--measures", ",".join(MEASURES))
    got, worst = {line["query"]: line for line in lines}, 0
    expected = [json.loads(line) for line in expected]
    if len(got) != len(expected):
        sys.exit(f"seed {seed}: {len(got)} questions instead of {len(expected)}")
    for line in expected:
        for name in MEASURES:
            worst = max(worst, abs(got[line["query"]][name] - line[name]))
    return len(expected) * len(MEASURES), worst, qrels, run


def other_run(path, folder, seed):
    """The same answers with other scores."""
    randomness = np.random.default_rng(seed)
    with open(path, encoding="utf-8") as file:
        rows = [line.split() for line in file]
    return write(folder, "other.run", (" ".join([*row[:4], f"{randomness.random():.9f}", "other"]) for row in rows))


def p_difference(mneme, folder, qrels, run, seed):
    """How far p is from scipy's, in standard deviations of the two samples."""
    compared = mneme_lines(mneme, "--qrels", qrels, "--compare", run, other_run(run, folder, seed), "--per-query", "-", "--json",
                           "--measures", "ndcg@10,map")
    questions, worst = compared[:-1], 0
    for name in ("ndcg@10", "map"):
        a, b = (np.array([line[side][name] for line in questions]) for side in "ab")
        theirs = stats.permutation_test((b, a), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", vectorized=True,
                                        n_resamples=100_000, batch=5000, rng=np.random.default_rng(seed)).pvalue
        ours = compared[-1]["measures"][name]["p"]
        worst = max(worst, abs(ours - theirs) / (np.sqrt(2e-5 * theirs * (1 - theirs)) + 1e-5))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"))
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=100, help="of the first run")
    options = parser.parse_args()
    n, worst, far = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seed, options.seed + options.runs):
            some, difference, qrels, run = differences(options.mneme, folder, seed)
            n, worst = n + some, max(worst, difference)
            if seed % 10 == 0:
                far = max(far, p_difference(options.mneme, folder, qrels, run, seed))
    print(f"{n:,} values of {len(MEASURES)} measures: the largest difference to trec_eval is {worst:.1e}")
    print(f"p of comparisons: at most {far:.1f} standard deviations from scipy.stats.permutation_test")
    return 0 if worst < 1e-6 and far < 5 else 1


if __name__ == "__main__":
    sys.exit(main())
