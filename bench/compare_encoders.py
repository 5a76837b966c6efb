"""Tokens per second of mneme's encoder and of its peers, in turn in one run, on the same texts and model, with the same number
of threads; and how near each one's vectors are to torch's at f32.

mneme takes the texts as they come and tokenizes them itself, inside one process and without the loading of the model
(`mneme bench --encode-only`). The peers get ids (encoder_peers.py). Tokens are counted with special tokens, without padding."""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

import encoder_report
import numpy as np
from encoder_peers import PEERS, PeerProcess, processor_flags
from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mneme")
MODEL = os.path.join(CACHE, "models", "all-MiniLM-L6-v2")
WINDOW = 256
PRECISIONS = ("f32", "bf16", "int16", "int8")


class Mneme:
    def __init__(self, args, precision):
        self.command = [args.mneme, "--set", f"encoder.threads={args.threads}", "--set", f"encoder.precision={precision}",
                        "--set", f"encoder.kernels={args.kernels}"]
        self.title = f"mneme {precision}"

    def refusal(self):
        """None, or the line with which mneme refuses this precision or these kernels."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("a short line\n")
            file.flush()
            done = subprocess.run(self.command + ["bench", file.name, "--lines", "--encode-only", "--seconds", "0.01"],
                                  capture_output=True, text=True)
        return None if done.returncode == 0 else done.stderr.strip()

    def speed(self, path, seconds):
        done = subprocess.run(self.command + ["bench", path, "--lines", "--encode-only", "--seconds", str(seconds)], check=True,
                              capture_output=True, text=True)
        return json.loads(done.stdout)["encode_tokens_per_s"]

    def vectors(self, path):
        with tempfile.NamedTemporaryFile(suffix=".npy") as file:
            subprocess.run(self.command + ["--quiet", "embed", path, "--output", file.name], check=True)
            return np.load(file.name)


def one_line(text):
    return " ".join(text.split())


def workloads(data, share):
    abstracts, sentences = [], []
    for line in open(os.path.join(data, "cranfield", "corpus.jsonl"), encoding="utf-8"):
        record = json.loads(line)
        text = one_line(record.get("title", "") + " " + record["text"])
        if len(text) > 1000:
            abstracts.append(text)
        sentences += [one_line(s) for s in record["text"].split(" . ") if 80 < len(s) < 220]
    lists = {"abstracts": abstracts[:600], "sentences": sentences[:5000]}
    return {name: texts[:max(16, int(len(texts) * share))] for name, texts in lists.items()}


def fidelity(vectors, reference):
    cosines = (vectors.astype(np.float64) * reference).sum(1)
    cosines /= np.linalg.norm(vectors.astype(np.float64), axis=1) * np.linalg.norm(reference.astype(np.float64), axis=1)
    return {"cosine_min": float(cosines.min()), "cosine_mean": float(cosines.mean())}


def measure(name, texts, tokenizer, ours, peers, args):
    """One workload: every engine once per round, in turn. A row per engine, in the order given."""
    sequences = [e.ids for e in tokenizer.encode_batch(texts)]
    tokens = sum(len(s) for s in sequences)
    sample = sequences[::max(1, tokens // 16000)]  # about 16,000 tokens, of all lengths
    rows = {}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("\n".join(texts) + "\n")
        file.flush()
        for key, peer in peers.items():
            title, version, setting = peer.ask("tune", sample)
            rows[key] = {"engine": f"{title}", "version": version, "setting": setting, "rounds": []}
        vectors = {}
        for mneme in ours:
            rows[mneme.title] = {"engine": mneme.title, "rounds": []}
            vectors[mneme.title] = mneme.vectors(file.name)
        for i in range(args.rounds):
            print(f"{name}: round {i + 1} of {args.rounds}", file=sys.stderr)
            for mneme in ours:
                rows[mneme.title]["rounds"].append(mneme.speed(file.name, 1))
            for key, peer in peers.items():
                took, vectors[key] = peer.ask("encode", sequences)
                rows[key]["rounds"].append(tokens / took)
    for key, row in rows.items():
        row.update(tokens_per_s=statistics.median(row["rounds"]), least=min(row["rounds"]), most=max(row["rounds"]),
                   **fidelity(vectors[key], vectors["torch-f32"]))
    return {"workload": name, "texts": len(texts), "tokens_per_text": tokens / len(texts),
            "rows": sorted(rows.values(), key=lambda row: -row["tokens_per_s"])}


def choose(args, flags):
    """The engines that can run here; the rest with the reason, on stderr."""
    ours, peers = [], {}
    for precision in args.precision.split(","):
        mneme = Mneme(args, precision)
        refusal = mneme.refusal()
        if refusal:
            print(f"without {mneme.title}: {refusal}", file=sys.stderr)
        else:
            ours.append(mneme)
    for name in dict.fromkeys(["torch-f32", *args.peers.split(",")]):
        title, needs = PEERS[name].title, PEERS[name].needs
        if needs and not needs & flags:
            print(f"without {title}: this processor has none of {', '.join(sorted(needs))}", file=sys.stderr)
            continue
        process = PeerProcess(name, MODEL, args.threads)
        if process.refusal:
            print(f"without {title}: {process.refusal}", file=sys.stderr)
        else:
            peers[name] = process
    if "torch-f32" not in peers:
        sys.exit("torch at f32 is the reference for fidelity; see bench/peers-environment")
    return ours, peers


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder that holds cranfield/")
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"), help="the command (default: build/mneme)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="of mneme, with commas (default: all that it accepts)")
    parser.add_argument("--kernels", default="auto", help="of mneme: auto, avx512, avx2, ...")
    parser.add_argument("--peers", default=",".join(PEERS), help="with commas (default: all); torch-f32 always runs")
    parser.add_argument("--share", type=float, default=1.0, help="of the 600 abstracts and 5,000 sentences, for a quick look")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE", help="a bar chart")
    return parser.parse_args()


def main():
    args, flags = arguments(), processor_flags()
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW)
    ours, peers = choose(args, flags)
    processor = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    special = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    result = {"processor": processor, "instructions": [f for f in special if f in flags], "threads": args.threads,
              "rounds": args.rounds, "kernels": args.kernels, "date": datetime.date.today().isoformat(),
              "workloads": [measure(name, texts, tokenizer, ours, peers, args)
                            for name, texts in workloads(args.data, args.share).items()]}
    for peer in peers.values():
        peer.stop()
    print(encoder_report.markdown(result))
    for path, content in ((args.json, json.dumps(result, indent=1) + "\n"), (args.svg, encoder_report.svg(result))):
        if path:
            with open(path, "w", encoding="utf-8") as file:
                file.write(content)


if __name__ == "__main__":
    sys.exit(main())
