"""Training language models of characters: mneme beside PyTorch on the same processor.

For each model mneme writes its first weights (`--steps 0`); PyTorch loads them and trains on the same batches, which are
made here once more by mneme's rule (docs/training.md), with Adam, the same rates and the same clipping. Both take turns;
the median of the rounds counts. Tokens per second are those of steps alone on both sides: forward, backward, clipping,
Adam. What the losses differ by says whether it is the same training."""
import argparse
import json
import math
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH, STEPS, RATE, WARM_UP, CLIP, SEED = 64, 64, 0.002, 10, 1.0, 1
MODELS = {"LSTM 2x256": ("lstm", 2, 256), "LSTM 2x512": ("lstm", 2, 512), "GRU 2x256": ("gru", 2, 256),
          "Transformer 4x256": ("transformer", 4, 256)}


# ---- mneme ----

def run_mneme(options, text, folder, model, steps):
    cell, layers, hidden = MODELS[model]
    command = [options.mneme, "train", "lm", text, "--out", folder, "--force", "--cell", cell, "--layers", str(layers),
               "--hidden", str(hidden), "--heads", "4", "--batch", str(BATCH), "--steps-back", str(STEPS), "--rate",
               str(RATE), "--warm-up", str(WARM_UP), "--clip", str(CLIP), "--weight-decay", "0", "--seed", str(SEED),
               "--evaluate-every", "1000000", "--length", "0", "--json", "--quiet", "--threads", str(options.threads),
               "--precision", options.precision]
    command += ["--steps", str(steps)] if steps else ["--epochs", "0"]
    answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    with open(os.path.join(folder, "log.jsonl"), encoding="utf-8") as log:
        return answer["tokens_per_second"] if steps else 0, [json.loads(line)["loss"] for line in log]


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, data = json.loads(file.read(size)), file.read()
    return {name: torch.from_numpy(np.frombuffer(data[slice(*entry["data_offsets"])], np.float32)
                                   .reshape(entry["shape"]).copy())
            for name, entry in header.items() if name != "__metadata__"}


# ---- the same batches ----

class Random:
    """splitmix64, with a stream for each part of each step, as encoder/train/shard.c has it."""
    MASK = (1 << 64) - 1

    def __init__(self, seed, step, part):
        self.state = seed
        self.state = self.next() ^ step
        self.state = self.next() ^ part
        self.state = self.next()

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & self.MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & self.MASK
        return z ^ z >> 31


def batches(ids, cell, n):
    """n batches of (STEPS, BATCH) inputs and targets."""
    n_train = len(ids) - len(ids) // 10
    for batch in range(n):
        if cell == "transformer":
            random = Random(SEED, batch, 1 << 32)
            starts = np.array([random.next() % (n_train - STEPS) for _ in range(BATCH)])
        else:
            starts = np.arange(BATCH) * (n_train // BATCH) + batch * STEPS
        places = starts[None, :] + np.arange(STEPS)[:, None]
        yield torch.from_numpy(ids[places % n_train]), torch.from_numpy(ids[(places + 1) % n_train])


# ---- PyTorch ----

class Recurrent(nn.Module):
    def __init__(self, weights, cell, layers, hidden):
        super().__init__()
        self.embedding = nn.Embedding(*weights["embedding.weight"].shape)
        self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(hidden, hidden, layers)
        self.output = nn.Linear(hidden, weights["output.weight"].shape[0])

    def forward(self, ids, state):
        y, state = self.rnn(self.embedding(ids), state)
        return self.output(y), state


class Block(nn.Module):
    def __init__(self, hidden, heads=4):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(hidden, hidden) for _ in range(4))
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.norm_1, self.norm_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x):
        y = self.norm_1(x)
        y = F.scaled_dot_product_attention(self.split(self.query(y)), self.split(self.key(y)), self.split(self.value(y)),
                                           is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class Transformer(nn.Module):
    def __init__(self, weights, cell, layers, hidden):
        super().__init__()
        self.embedding = nn.Embedding(*weights["embedding.weight"].shape)
        self.positions = nn.Embedding(STEPS, hidden)
        self.blocks = nn.ModuleList(Block(hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.output = nn.Linear(hidden, weights["output.weight"].shape[0])

    def forward(self, ids, state):
        x = self.embedding(ids.T) + self.positions.weight
        for block in self.blocks:
            x = block(x)
        return self.output(self.norm(x)).transpose(0, 1), None


NAMES = {"attention.self.query": "query", "attention.self.key": "key", "attention.self.value": "value",
         "attention.output.dense": "out", "attention.output.LayerNorm": "norm_1", "intermediate.dense": "up",
         "output.dense": "down", "output.LayerNorm": "norm_2"}


def torch_name(name):
    if not name.startswith("blocks."):
        return name
    _, block, rest = name.split(".", 2)
    part, kind = rest.rsplit(".", 1)
    return f"blocks.{block}.{NAMES[part]}.{kind}"


def train_torch(weights, ids, model, steps):
    cell, layers, hidden = MODELS[model]
    net = (Transformer if cell == "transformer" else Recurrent)(weights, cell, layers, hidden)
    net.load_state_dict({torch_name(name): value.view(net.state_dict()[torch_name(name)].shape)
                         for name, value in weights.items()})
    adam = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0)
    losses, state, seconds = [], None, 0
    for step, (inputs, targets) in enumerate(batches(ids, cell, steps)):
        along = (step - WARM_UP) / (steps - WARM_UP)
        rate = RATE * (step + 1) / WARM_UP if step < WARM_UP else RATE * 0.5 * (1 + math.cos(math.pi * along))
        begin = time.perf_counter()
        for group in adam.param_groups:
            group["lr"] = rate
        adam.zero_grad()
        logits, state = net(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        adam.step()
        losses.append(loss.item())
        if state is not None:
            state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
        seconds += time.perf_counter() - begin
    return steps * BATCH * STEPS / seconds, losses


# ---- the comparison ----

def compare(options, text, ids, model, work):
    folder = os.path.join(work, "model")
    run_mneme(options, text, folder, model, 0)
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    speeds = {"mneme": [], "torch": []}
    for _ in range(options.rounds):
        speed, ours = run_mneme(options, text, folder, model, options.steps)
        speeds["mneme"].append(speed)
        speed, theirs = train_torch(weights, ids, model, options.steps)
        speeds["torch"].append(speed)
    mneme, peer = (statistics.median(speeds[name]) for name in ("mneme", "torch"))
    tail = max(1, options.steps // 4)
    return {"model": model, "mneme": mneme, "torch": peer, "ratio": mneme / peer,
            "first_loss": [ours[0], theirs[0]],
            "last_loss": [statistics.mean(curve[-tail:]) for curve in (ours, theirs)],
            "largest_difference": max(abs(a - b) for a, b in zip(ours, theirs)), "losses": [ours, theirs]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"))
    parser.add_argument("--mneme", default=os.path.join(ROOT, "build", "mneme"))
    parser.add_argument("--models", default=",".join(MODELS), help="names, with commas")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"), help="of mneme's products; torch's are f32")
    parser.add_argument("--json", metavar="FILE", help="write all figures and curves")
    options = parser.parse_args()
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}")
    torch.set_num_threads(options.threads)
    text = os.path.join(options.data, "text", "tinyshakespeare.txt")
    characters = open(text, encoding="utf-8", newline="").read()
    vocabulary = {c: i for i, c in enumerate(sorted(set(characters)))}
    ids = np.array([vocabulary[c] for c in characters], np.int64)
    work = tempfile.mkdtemp(prefix="mneme-train-")
    rows = []
    print(f"| model | mneme {options.precision}, tokens/s | torch {torch.__version__} f32, tokens/s | ratio | "
          "loss after, mneme / torch | largest difference |\n|---|---|---|---|---|---|")
    try:
        for model in options.models.split(","):
            row = compare(options, text, ids, model, work)
            rows.append(row)
            print(f"| {model} | {row['mneme']:,.0f} | {row['torch']:,.0f} | {row['ratio']:.2f} | "
                  f"{row['last_loss'][0]:.4f} / {row['last_loss'][1]:.4f} | {row['largest_difference']:.4f} |", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"steps": options.steps, "batch": BATCH, "steps_back": STEPS, "threads": options.threads,
                       "precision": options.precision, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    sys.exit(main())
