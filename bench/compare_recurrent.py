"""Tokens per second of mneme's LSTM and GRU encoders, of the same models in PyTorch, and of MiniLM in mneme at f32, in turn
in one run, on the same texts and with the same number of threads; and how near each one's vectors are to PyTorch's.

The models have random weights (speed does not depend on them) in the shape of a distilled encoder: a table of 30,522 rows of
384 with MiniLM's tokenizer, one bidirectional layer of 256, attentive pooling with the tokens joined, 384 numbers out.
mneme tokenizes inside its time; PyTorch gets ids, and its time is that of the layers: the table, nn.LSTM or nn.GRU,
pooling, the output. It is tried both ways that give right results, each with several batch sizes on a sample: packed
(pack_padded_sequence, texts sorted by length), and batches of texts of one length, which need no packing."""
import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time

import numpy as np
from compare_encoders import MODEL, ROOT, Mneme, workloads

VOCABULARY, EMBEDDING, HIDDEN, OUTPUT, WINDOW = 30522, 384, 256, 384, 256
GATES = {"lstm": 4, "gru": 3}
PRECISIONS = ("f32", "bf16", "int16", "int8")


def make_weights(cell, layers, scale):
    """As PyTorch starts them, uniform in +-1/sqrt(hidden), times `scale`; the table like a static encoder's."""
    random = np.random.default_rng(7)
    bound, wide = scale / HIDDEN ** 0.5, GATES[cell] * HIDDEN
    uniform = lambda *shape: random.uniform(-bound, bound, shape).astype(np.float32)  # noqa: E731
    out = {"embedding.weight": random.normal(0, 0.5, (VOCABULARY, EMBEDDING)).astype(np.float32)}
    for layer in range(layers):
        for end in ("", "_reverse"):
            out[f"recurrent.weight_ih_l{layer}{end}"] = uniform(wide, 2 * HIDDEN if layer else EMBEDDING)
            out[f"recurrent.weight_hh_l{layer}{end}"] = uniform(wide, HIDDEN)
            out[f"recurrent.bias_ih_l{layer}{end}"] = uniform(wide)
            out[f"recurrent.bias_hh_l{layer}{end}"] = uniform(wide)
    out["attention.weight"], out["attention.bias"] = uniform(1, 2 * HIDDEN) * 8, uniform(1)
    out["output.weight"], out["output.bias"] = uniform(OUTPUT, 2 * HIDDEN + EMBEDDING), uniform(OUTPUT)
    return out


def write_folder(folder, cell, layers, weights):
    from safetensors.numpy import save_file
    config = {"model_type": "mneme-recurrent", "cell": cell, "vocab_size": VOCABULARY, "embedding_size": EMBEDDING,
              "hidden_size": HIDDEN, "num_layers": layers, "bidirectional": True, "pooling": "attentive", "join_tokens": True,
              "output_size": OUTPUT, "max_tokens": WINDOW, "mneme": {"trained_on": "nothing: random weights, to measure speed"}}
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if os.path.exists(os.path.join(MODEL, name)):
            shutil.copy(os.path.join(MODEL, name), folder)
    save_file(weights, os.path.join(folder, "model.safetensors"))


class Torch:
    def __init__(self, cell, layers, weights, threads):
        import torch
        torch.set_num_threads(threads)
        self.torch, self.title = torch, f"torch {torch.__version__.split('+')[0]} nn.{cell.upper()}"
        kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
        self.net = kind(EMBEDDING, HIDDEN, layers, batch_first=True, bidirectional=True).eval()
        self.w = {name: torch.from_numpy(array) for name, array in weights.items()}
        self.net.load_state_dict({n[len("recurrent."):]: v for n, v in self.w.items() if n.startswith("recurrent.")})
        self.setting = None

    def batches(self, sequences, way, size):
        order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
        some = []
        for i in order:
            if some and (len(some) == size or (way == "one length" and len(sequences[i]) != len(sequences[some[0]]))):
                yield some
                some = []
            some.append(i)
        yield some

    def encode(self, sequences, setting):
        torch, way, vectors = self.torch, setting["way"], np.zeros((len(sequences), OUTPUT), np.float32)
        with torch.inference_mode():
            for some in self.batches(sequences, way, setting["batch"]):
                lengths = torch.tensor([len(sequences[i]) for i in some])
                ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(sequences[i]) for i in some], batch_first=True)
                tokens = self.w["embedding.weight"][ids]
                if way == "packed":
                    packed = torch.nn.utils.rnn.pack_padded_sequence(tokens, lengths, batch_first=True)
                    states = torch.nn.utils.rnn.pad_packed_sequence(self.net(packed)[0], batch_first=True)[0]
                else:
                    states = self.net(tokens)[0]
                scores = states @ self.w["attention.weight"][0] + self.w["attention.bias"]
                scores.masked_fill_(torch.arange(ids.shape[1]) >= lengths[:, None], -torch.inf)
                joined = (scores.softmax(1)[:, None] @ torch.cat([states, tokens], 2))[:, 0]
                out = torch.nn.functional.linear(joined, self.w["output.weight"], self.w["output.bias"])
                vectors[some] = torch.nn.functional.normalize(out, dim=1).numpy()
        return vectors

    def tune(self, sample):
        best = None
        for way in ("packed", "one length"):
            for batch in (16, 32, 64, 128):
                setting = {"way": way, "batch": batch}
                started = time.perf_counter()
                self.encode(sample, setting)
                took = time.perf_counter() - started
                if best is None or took < best:
                    best, self.setting = took, setting


def measure(name, texts, tokenizer, args):
    sequences = [e.ids[:WINDOW] for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    tokens = sum(len(s) for s in sequences)
    minilm_tokens = sum(min(len(s), WINDOW - 2) + 2 for s in sequences)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "texts.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(texts) + "\n")
        entries = [("MiniLM", Mneme(args, "f32"), None)]
        for cell in args.cells.split(","):
            weights = make_weights(cell, args.layers, args.scale)
            model = os.path.join(folder, cell)
            write_folder(model, cell, args.layers, weights)
            peer = Torch(cell, args.layers, weights, args.threads)
            peer.tune(sequences[::max(1, tokens // 16000)])
            entries.append((cell, peer, peer.encode(sequences, peer.setting)))
            for precision in args.precision.split(","):
                mneme = Mneme(args, precision)
                mneme.command += ["--set", f"encoder.model={model}", "--set", f"encoder.cache={folder}/cache"]
                entries.append((cell, mneme, None))
        rounds = [[] for _ in entries]
        for i in range(args.rounds):
            print(f"{name}: round {i + 1} of {args.rounds}", file=sys.stderr)
            for e, (_, engine, _) in enumerate(entries):
                if isinstance(engine, Mneme):
                    rounds[e].append(engine.speed(path, 1))
                else:
                    started = time.perf_counter()
                    engine.encode(sequences, engine.setting)
                    rounds[e].append(tokens / (time.perf_counter() - started))
        reference = {cell: vectors for cell, _, vectors in entries if vectors is not None}
        minilm, torch = statistics.median(rounds[0]), {}
        for (cell, engine, vectors), speeds in zip(entries, rounds):
            row = {"model": cell, "engine": engine.title, "tokens_per_s": statistics.median(speeds)}
            row["to_minilm"] = row["tokens_per_s"] / minilm
            if vectors is not None:
                torch[cell], row["setting"] = row["tokens_per_s"], engine.setting
            elif cell != "MiniLM":
                ours = engine.vectors(path)
                row["to_torch"] = row["tokens_per_s"] / torch[cell]
                row["difference"] = float(np.abs(ours - reference[cell]).max())
                row["cosine_min"] = float((ours * reference[cell]).sum(1).min())
            rows.append(row)
    return {"workload": name, "texts": len(texts), "tokens": tokens, "minilm_tokens": minilm_tokens, "rows": rows}


def markdown(result):
    lines = [f"{result['threads']} threads, {result['layers']} layer(s), median of {result['rounds']} rounds in turn"]
    for work in result["workloads"]:
        lines += ["", f"{work['texts']:,} {work['workload']} of {work['tokens'] / work['texts']:.0f} tokens:", "",
                  "| model | engine | tokens/s | to MiniLM f32 | to torch | largest difference | least cosine | setting |",
                  "|---|---|---|---|---|---|---|---|"]
        for row in work["rows"]:
            setting = ", ".join(f"{k} {v}" for k, v in row.get("setting", {}).items())
            ours = (f"{row['to_torch']:.2f} | {row['difference']:.1e} | {row['cosine_min']:.6f}" if "to_torch" in row else " | | ")
            lines.append(f"| {row['model']} | {row['engine']} | {row['tokens_per_s']:,.0f} | {row['to_minilm']:.1f} | {ours} | "
                         f"{setting} |")
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder that holds cranfield/")
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"), help="the command (default: build/mneme)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured, in turn")
    parser.add_argument("--cells", default="lstm,gru")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the weights; trained ones are larger than those at the start")
    parser.add_argument("--precision", default=",".join(PRECISIONS), help="of mneme, with commas (default: all)")
    parser.add_argument("--kernels", default="auto", help="of mneme: auto, avx512, avx2, ...")
    parser.add_argument("--share", type=float, default=1.0, help="of the 600 abstracts and 5,000 sentences, for a quick look")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def main():
    from tokenizers import Tokenizer
    args = arguments()
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    result = {"threads": args.threads, "layers": args.layers, "rounds": args.rounds,
              "workloads": [measure(name, texts, tokenizer, args) for name, texts in workloads(args.data, args.share).items()]}
    print(markdown(result))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            file.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
