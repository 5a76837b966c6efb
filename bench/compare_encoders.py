"""Tokens per second of mneme and of onnxruntime, alternating in one run, on the same texts and model.

The peer gets its best case: the graph that onnxruntime's own transformer optimizer makes of BERT (fused Attention,
SkipLayerNormalization, BiasGelu), built here from the model's weights; ids ready, texts sorted by length into batches, so
that hardly anything is padding. mneme gets the texts as they come and tokenizes them itself. Both use the same number of
threads. Tokens are counted with special tokens, without padding."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mneme")
MODEL = os.path.join(CACHE, "models", "all-MiniLM-L6-v2")
WINDOW = 256


def read_weights(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    return {name: np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], dtype=np.float32).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__" and t["dtype"] == "F32"}


def build_onnx(folder):
    config = json.load(open(os.path.join(folder, "config.json"), encoding="utf-8"))
    w = read_weights(os.path.join(folder, "model.safetensors"))
    nodes, constants, ms = [], [], {"domain": "com.microsoft"}

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def norm(prefix):
        return [constant(prefix + ".weight", w[prefix + ".weight"]), constant(prefix + ".bias", w[prefix + ".bias"])]

    embedding = [constant(k, w["embeddings." + k + ".weight"])
                 for k in ("word_embeddings", "position_embeddings", "token_type_embeddings")]
    nodes.append(helper.make_node("EmbedLayerNormalization", ["ids", "types", *embedding, *norm("embeddings.LayerNorm"), "mask"],
                                  ["x0", "lengths"], epsilon=config["layer_norm_eps"], **ms))
    x = "x0"
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        qkv = np.concatenate([w[p + f"attention.self.{n}.weight"].T for n in ("query", "key", "value")], axis=1)
        bias = np.concatenate([w[p + f"attention.self.{n}.bias"] for n in ("query", "key", "value")])
        nodes.append(helper.make_node("Attention", [x, constant(p + "qkv", qkv), constant(p + "qkv_bias", bias), "lengths"],
                                      [p + "a"], num_heads=config["num_attention_heads"], **ms))
        nodes.append(helper.make_node("MatMul", [p + "a", constant(p + "o", w[p + "attention.output.dense.weight"].T)], [p + "b"]))
        nodes.append(helper.make_node("SkipLayerNormalization",
                                      [p + "b", x, *norm(p + "attention.output.LayerNorm"),
                                       constant(p + "ob", w[p + "attention.output.dense.bias"])], [p + "c"],
                                      epsilon=config["layer_norm_eps"], **ms))
        nodes.append(helper.make_node("MatMul", [p + "c", constant(p + "up", w[p + "intermediate.dense.weight"].T)], [p + "d"]))
        nodes.append(helper.make_node("BiasGelu", [p + "d", constant(p + "upb", w[p + "intermediate.dense.bias"])], [p + "e"], **ms))
        nodes.append(helper.make_node("MatMul", [p + "e", constant(p + "down", w[p + "output.dense.weight"].T)], [p + "f"]))
        nodes.append(helper.make_node("SkipLayerNormalization",
                                      [p + "f", p + "c", *norm(p + "output.LayerNorm"), constant(p + "downb", w[p + "output.dense.bias"])],
                                      [p + "x"], epsilon=config["layer_norm_eps"], **ms))
        x = p + "x"
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["batch", "length"]) for n in ("ids", "types", "mask")]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", config["hidden_size"]])
    graph = helper.make_graph(nodes, "bert", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 9
    return model


class Onnxruntime:
    name = "onnxruntime fp32"

    def __init__(self, folder, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(build_onnx(folder).SerializeToString(), options, providers=["CPUExecutionProvider"])

    def encode(self, sequences, batch):
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        vectors = np.zeros((len(sequences), 384), np.float32)
        for start in range(0, len(order), batch):
            some = order[start:start + batch]
            length = max(len(sequences[i]) for i in some)
            ids, mask = np.zeros((len(some), length), np.int32), np.zeros((len(some), length), np.int32)
            for row, i in enumerate(some):
                ids[row, :len(sequences[i])] = sequences[i]
                mask[row, :len(sequences[i])] = 1
            hidden = self.session.run(None, {"ids": ids, "types": np.zeros_like(ids), "mask": mask})[0]
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
            vectors[some] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return vectors


def mneme_command(threads, precision):
    return [os.path.join(ROOT, "build", "mneme"), "--set", f"encoder.threads={threads}", "--set", f"encoder.precision={precision}"]


def mneme_speed(path, threads, precision, seconds):
    out = subprocess.run(mneme_command(threads, precision) + ["bench", path, "--lines", "--encode-only", "--seconds", str(seconds)],
                         check=True, capture_output=True, text=True).stdout
    return json.loads(out)["encode_tokens_per_s"]


def check_agreement(peer, sequences, path, threads, precision):
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        subprocess.run(mneme_command(threads, precision) + ["--quiet", "embed", path, "--output", file.name], check=True)
        ours = np.load(file.name)
    theirs = peer.encode(sequences, 32)
    return float((ours * theirs).sum(1).min())


def one_line(text):
    return " ".join(text.split())


def workloads(data):
    abstracts = []
    for line in open(os.path.join(data, "cranfield", "corpus.jsonl"), encoding="utf-8"):
        record = json.loads(line)
        text = one_line(record.get("title", "") + " " + record["text"])
        if 1000 < len(text):
            abstracts.append(text)
    sentences = []
    for line in open(os.path.join(data, "cranfield", "corpus.jsonl"), encoding="utf-8"):
        sentences += [one_line(s) for s in json.loads(line)["text"].split(" . ") if 80 < len(s) < 220]
    return {"600 abstracts": abstracts[:600], "5000 sentences": sentences[:5000]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder that holds cranfield/")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="how often both are measured, in turn")
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(WINDOW)
    peer, rows = Onnxruntime(MODEL, args.threads), []
    processor = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    for name, texts in workloads(args.data).items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write("\n".join(texts) + "\n")
            file.flush()
            sequences = [e.ids for e in tokenizer.encode_batch(texts)]
            tokens = sum(len(s) for s in sequences)
            least = check_agreement(peer, sequences, file.name, args.threads, args.precision)
            pairs = []
            for _ in range(args.rounds):
                ours = mneme_speed(file.name, args.threads, args.precision, 1)
                started = time.perf_counter()
                peer.encode(sequences, 32)
                pairs.append((ours, tokens / (time.perf_counter() - started)))
        rows.append({"workload": name, "tokens_per_text": tokens / len(texts), "mneme": statistics.median(p[0] for p in pairs),
                     "peer": statistics.median(p[1] for p in pairs), "ratio": statistics.median(a / b for a, b in pairs),
                     "ratio_min": min(a / b for a, b in pairs), "ratio_max": max(a / b for a, b in pairs), "least_cosine": least})
    if args.json:
        print(json.dumps({"processor": processor, "threads": args.threads, "precision": args.precision, "peer": peer.name, "rows": rows}))
        return
    print(f"{processor}, {args.threads} threads, {args.rounds} rounds in turn; mneme {args.precision} beside {peer.name} {onnxruntime.__version__}\n")
    print(f"{'texts':16} {'tokens each':>11} {'mneme tok/s':>12} {'peer tok/s':>11} {'ratio':>6} {'(min-max)':>13} {'least cosine':>13}")
    for r in rows:
        print(f"{r['workload']:16} {r['tokens_per_text']:11.0f} {r['mneme']:12.0f} {r['peer']:11.0f} {r['ratio']:6.2f} "
              f"({r['ratio_min']:.2f}-{r['ratio_max']:.2f}) {r['least_cosine']:13.7f}")


if __name__ == "__main__":
    sys.exit(main())
