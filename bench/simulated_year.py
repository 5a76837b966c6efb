"""What is still found after a year when a memory may keep only a part of what it was told?

Each conversation of a set like LoCoMo (records with namespace, session and time; questions with evidence) is a namespace. Its
sessions arrive in the order of their times, and the clock (clock.now) stands at the session's time: the session is indexed, the
questions that fall into it are asked, and the namespace is cut back to a share of what has arrived so far. Which questions are asked along the
way, and when, is drawn from a hash of their ids: no sooner than their last evidence, evenly up to the end. The others are asked at the end
only, and nothing before has asked for their evidence by these words.

A policy says what stays: the strategies `strength`, `newest` and `random` of `mneme prune`; `importance` is strength where questions
strengthen nothing. All else is equal. Everything is done by the command, a process for each step."""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import tempfile

import year_report

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
POLICIES = ("strength", "importance", "newest", "random")
CHECKPOINTS = (0.2, 0.4, 0.6, 0.8, 1.0)  # shares of a conversation's sessions after which the questions held back are tried

Session = collections.namedtuple("Session", "time records")
Question = collections.namedtuple("Question", "id text evidence last")  # last: the session of its last evidence
Conversation = collections.namedtuple("Conversation", "name sessions questions")
Plan = collections.namedtuple("Plan", "asked at")  # ids of the questions asked along the way; session -> questions


# ---- the set

def read_jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def read_evidence(path):
    evidence = collections.defaultdict(list)
    with open(path, encoding="utf-8") as file:
        for line in file.read().splitlines()[1:]:
            question, record, grade = line.split("\t")
            if float(grade) > 0:
                evidence[question].append(record)
    return evidence


def sessions_of(records):
    by_name = {}
    for record in records:
        by_name.setdefault(record["session"], []).append(record)
    return sorted((Session(part[0]["time"], part) for part in by_name.values()), key=lambda session: session.time)


def read_conversations(folder):
    by_namespace = {}
    for record in read_jsonl(os.path.join(folder, "corpus.jsonl")):
        by_namespace.setdefault(record["namespace"], []).append(record)
    questions = read_jsonl(os.path.join(folder, "queries.jsonl"))
    evidence = read_evidence(os.path.join(folder, "qrels", "test.tsv"))
    conversations = []
    for name, records in sorted(by_namespace.items()):
        sessions = sessions_of(records)
        place = {record["_id"]: i for i, session in enumerate(sessions) for record in session.records}
        own = [Question(q["_id"], q["text"], evidence[q["_id"]], max(place[record] for record in evidence[q["_id"]]))
               for q in questions if q["namespace"] == name and evidence[q["_id"]]]
        conversations.append(Conversation(name, sessions, own))
    return conversations


def draw(*what):
    """A number in [0, 1) that depends on nothing but `what`."""
    digest = hashlib.sha256(" ".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def plan_of(conversation, options, year):
    asked, at = set(), collections.defaultdict(list)
    for question in conversation.questions:
        if draw(year, "asked", question.id) >= options.asked:
            continue
        asked.add(question.id)
        room = len(conversation.sessions) - question.last
        for i in range(options.times):
            at[question.last + int(room * draw(year, "when", i, question.id))].append(question)
    return Plan(asked, at)


# ---- the command

class Store:
    def __init__(self, options, folder):
        self.command, self.folder, self.now = [options.mneme, "--quiet", "--store", folder], folder, None
        self.extra = [word for setting in options.set for word in ("--set", setting)]
        os.makedirs(folder)
        self.run("init")
        # Records come with their vectors, made once by `mneme embed`; this one names the encoder for the questions.
        self.index([{"id": "encoder", "namespace": "encoder", "text": "a sentence"}])

    def run(self, *words, text=None, allowed=(0,)):
        clock = ["--set", f"clock.now={self.now}"] if self.now else []
        done = subprocess.run(self.command + self.extra + clock + list(words), input=text, capture_output=True, text=True)
        if done.returncode not in allowed:
            sys.exit(f"mneme {' '.join(words[:3])}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def index(self, records):
        self.run("index", "-", "--format", "jsonl", text="".join(json.dumps(record) + "\n" for record in records))

    def ask(self, namespace, question, strengthen):
        """Ids of the ten best records."""
        switch = f"memory.strengthen={'on' if strengthen else 'off'}"
        answer = self.run("--set", switch, "query", question.text, "-n", namespace, "-k", "10", "--one-per-record", "--json",
                          allowed=(0, 1))
        return [hit["id"] for hit in json.loads(answer)["hits"]]

    def prune(self, namespace, run, n_records):
        """Cut the namespace back to n_records, the way that the run's policy is; returns the ids that went."""
        strategy = "strength" if run["policy"] == "importance" else run["policy"]
        words = ["prune", "-n", namespace, "--max-records", str(n_records), "--strategy", strategy, "--json"]
        if strategy == "random":
            words += ["--seed", str(run["year"])]
        pruned = json.loads(self.run(*words))
        assert pruned["kept_records"] == n_records
        return {record["id"] for record in pruned["records"]}

    def recall(self, conversation, questions):
        """Sum of the evidence recall@10 of the questions by `mneme eval`, which strengthens nothing."""
        if not questions:
            return 0.0
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "qrels"))
            with open(os.path.join(folder, "queries.jsonl"), "w", encoding="utf-8") as file:
                for question in questions:
                    file.write(json.dumps({"_id": question.id, "namespace": conversation.name, "text": question.text}) + "\n")
            with open(os.path.join(folder, "qrels", "test.tsv"), "w", encoding="utf-8") as file:
                file.write("query-id\tcorpus-id\tscore\n")
                file.writelines(f"{question.id}\t{record}\t1\n" for question in questions for record in question.evidence)
            measured = json.loads(self.run("eval", folder, "-k", "10", "--json"))
        assert measured["queries"] == len(questions)
        return measured["recall@10"] * len(questions)


def embed(options, conversations):
    """Give every record its vector: "speaker: text", as the store encodes a turn."""
    records = [r for conversation in conversations for session in conversation.sessions for r in session.records]
    headed = [r["speaker"] + ": " + r["text"] if r.get("speaker") else r["text"] for r in records]
    lines = subprocess.run([options.mneme, "--quiet", "embed", "--format", "jsonl"], check=True, capture_output=True, text=True,
                           input="".join(json.dumps({"id": r["_id"], "text": t}) + "\n" for r, t in zip(records, headed))).stdout
    for record, line in zip(records, lines.splitlines()):
        vector = json.loads(line)
        assert vector["id"] == record["_id"]
        record["vector"] = vector["vector"]


# ---- the year

def live_through(store, conversation, plan, run, totals):
    """One conversation from its first session to its last; adds (sum, count) pairs to totals."""
    arrived, live = 0, set()
    held_back = [question for question in conversation.questions if question.id not in plan.asked]
    checkpoints = {max(1, round(share * len(conversation.sessions))) - 1: share for share in CHECKPOINTS}
    for i, session in enumerate(conversation.sessions):
        store.now = session.time
        store.index(session.records)
        live |= {record["_id"] for record in session.records}
        arrived += len(session.records)
        for question in plan.at[i]:
            found = store.ask(conversation.name, question, run["policy"] == "strength")
            totals["along"] += len(set(found) & set(question.evidence)) / len(question.evidence), 1
        if run["share"] < 1:
            live -= store.prune(conversation.name, run, int(run["share"] * arrived))
            assert len(live) == int(run["share"] * arrived)
        if i in checkpoints:
            known = [question for question in held_back if question.last <= i]
            totals[checkpoints[i]] += store.recall(conversation, known), len(known)
    repeats = [question for question in conversation.questions if question.id in plan.asked]
    totals["repeat"] += store.recall(conversation, repeats), len(repeats)
    totals["kept"] += sum(len(live & set(q.evidence)) / len(q.evidence) for q in held_back), len(held_back)


class Mean:
    def __init__(self):
        self.sum, self.n = 0.0, 0

    def __iadd__(self, pair):
        self.sum, self.n = self.sum + pair[0], self.n + pair[1]
        return self

    def value(self):
        return self.sum / self.n if self.n else 0.0


def simulate(options, conversations, run):
    totals = collections.defaultdict(Mean)
    with tempfile.TemporaryDirectory(prefix="mneme-year-") as folder:
        store = Store(options, os.path.join(folder, "store"))
        for conversation in conversations:
            live_through(store, conversation, plan_of(conversation, options, run["year"]), run, totals)
    print(f"{run['policy']} at {run['share']:.0%}, year {run['year'] + 1}: done", file=sys.stderr)
    return {**run, **{name: totals[name].value() for name in ("along", "repeat", "kept")},
            "unseen": totals[1.0].value(), "over_time": [totals[share].value() for share in CHECKPOINTS]}


def average(results):
    """The years of one policy and share as one."""
    groups = {}
    for result in results:
        groups.setdefault((result["policy"], result["share"]), []).append(result)
    rows = []
    for (policy, share), group in groups.items():
        row = {"policy": policy, "share": share}
        for name in ("unseen", "repeat", "along", "kept"):
            row[name] = sum(result[name] for result in group) / len(group)
        row["over_time"] = [sum(values) / len(group) for values in zip(*(result["over_time"] for result in group))]
        rows.append(row)
    return rows


def read_options():
    parser = argparse.ArgumentParser(description="evidence recall@10 after a year under a budget, by what is kept")
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data", "locomo"), help="folder in BEIR's layout")
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for every step")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.5, 0.25], help="what may be kept (0.5 0.25)")
    parser.add_argument("--asked", type=float, default=0.5, help="share of the questions that are asked along the way (0.5)")
    parser.add_argument("--times", type=int, default=1, help="how often each of them (1)")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--years", type=int, default=3, help="mean of so many, each with other questions and times (3)")
    parser.add_argument("--jobs", type=int, default=1, help="stores at once (1)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE")
    return parser.parse_args()


def main():
    options = read_options()
    conversations = read_conversations(options.data)
    embed(options, conversations)
    kinds = [("everything kept", 1.0)] + [(policy, share) for share in options.shares for policy in options.policies]
    runs = [{"policy": policy, "share": share, "year": year} for policy, share in kinds for year in range(options.years)]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda run: simulate(options, conversations, run), runs))
    result = {"records": sum(len(s.records) for c in conversations for s in c.sessions), "conversations": len(conversations),
              "questions": sum(len(c.questions) for c in conversations), "asked": options.asked, "times": options.times, "years": options.years,
              "checkpoints": CHECKPOINTS, "rows": average(results)}
    print(year_report.markdown(result))
    for path, text in ((options.json, json.dumps(result, indent=1) + "\n"), (options.svg, year_report.svg(result))):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)


if __name__ == "__main__":
    main()
