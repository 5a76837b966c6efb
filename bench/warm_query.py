"""Encoding one short question in a process that has done it before: median and 99th percentile, mneme and its peers, in turn.

The peers get ids and run a batch of one; mneme tokenizes the question itself."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from compare_encoders import MODEL, PRECISIONS
from encoder_peers import PEERS, processor_flags
from tokenizers import Tokenizer

QUESTION = "where does the old miller keep gold?"  # 10 tokens with [CLS] and [SEP]


def mneme_row(args, precision):
    """None where mneme refuses the precision."""
    command = [args.program, str(args.runs), str(args.threads), args.question, f"encoder.precision={precision}", *args.set]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"without mneme {precision}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return {"engine": f"mneme {precision}", **json.loads(done.stdout)}


def percentile_99(took):
    return sorted(took)[(len(took) * 99 + 99) // 100 - 1]


def measure_peer(name, threads, question, runs):
    """In this process: nothing else may run in it."""
    peer = PEERS[name](MODEL, threads)
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    tokenizer.no_padding()
    sequence, took = tokenizer.encode(question).ids, []
    setting = {"batch": 1, "streams": 1}
    peer.prepare(setting)
    for i in range(runs + runs // 10 + 10):
        if i == runs // 10 + 10:
            cpu = time.process_time()
        started = time.perf_counter()
        peer.encode([sequence], setting)
        took.append((time.perf_counter() - started) * 1000)
    cpu, took = (time.process_time() - cpu) / runs * 1000, took[-runs:]
    return {"engine": peer.title, "version": peer.version, "tokens": len(sequence), "runs": runs,
            "p50_ms": statistics.median(took), "p99_ms": percentile_99(took), "least_ms": min(took), "cpu_ms": cpu}


def peer_row(args, name):
    needs = PEERS[name].needs
    if needs and not needs & processor_flags():
        return None
    command = [sys.executable, os.path.abspath(__file__), "--one-peer", name, "--runs", str(max(100, args.runs // 10)),
               "--threads", str(args.threads), "--question", args.question]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"without {PEERS[name].title}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="the built warm_query.c (bench/warm-query gives it)")
    parser.add_argument("--runs", type=int, default=10000, help="of mneme; the peers do a tenth")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="of mneme, with commas (default: all that it accepts)")
    parser.add_argument("--peers", default=",".join(PEERS), help="with commas (default: all; \"\" for none)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for mneme; any number of times")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one-peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_peer:
        print(json.dumps(measure_peer(args.one_peer, args.threads, args.question, args.runs)))
        return
    rows = [mneme_row(args, precision) for precision in args.precision.split(",")]
    rows += [peer_row(args, name) for name in args.peers.split(",") if name]
    rows = sorted(filter(None, rows), key=lambda row: row["p50_ms"])
    print(f"\"{args.question}\", {args.threads} thread{'s' if args.threads > 1 else ''}\n")
    print("| engine | tokens | runs | p50 ms | p99 ms | least | cpu ms, mean |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['engine']} {row.get('version', '')} | {row['tokens']} | {row['runs']:,} | {row['p50_ms']:.2f} | "
              f"{row['p99_ms']:.2f} | {row['least_ms']:.2f} | {row['cpu_ms']:.2f} |")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            file.write(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
