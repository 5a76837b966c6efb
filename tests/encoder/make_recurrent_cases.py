#!/usr/bin/env python3
"""Writes tests/data/train/recurrent_cases.json: LSTMs and GRUs of PyTorch on ragged batches (pack_padded_sequence), with
their weights, inputs, outputs, states and the gradients of sum(y * dy). Needs torch (2.15 made the file in the tree):

    python3 tests/encoder/make_recurrent_cases.py > tests/data/train/recurrent_cases.json
"""
import json
import sys

import torch
from torch.nn.utils.rnn import pack_padded_sequence

CASES = [  # cell, n_in, n_hidden, n_layers, bidirectional, lengths, with states to begin with
    ("lstm", 3, 5, 1, False, [4, 4, 2, 1], True),
    ("lstm", 3, 4, 2, True, [5, 3, 3, 1], False),
    ("lstm", 2, 3, 2, True, [3, 2], True),
    ("gru", 3, 5, 1, False, [4, 4, 2, 1], True),
    ("gru", 3, 4, 2, True, [5, 3, 3, 1], False),
    ("gru", 2, 3, 2, True, [3, 2], True),
]


def flat(tensor):
    return [float(f"{value:.8g}") for value in tensor.detach().reshape(-1).tolist()]


def make(cell, n_in, n_hidden, n_layers, bidirectional, lengths, with_states):
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](n_in, n_hidden, n_layers, bidirectional=bidirectional)
    for parameter in module.parameters():
        torch.nn.init.uniform_(parameter, -0.9, 0.9)
    padded = torch.randn(max(lengths), len(lengths), n_in)
    packed = pack_padded_sequence(padded, lengths)
    x = packed.data.clone().requires_grad_(True)
    packed = packed._replace(data=x)
    shape = (n_layers * (1 + bidirectional), len(lengths), n_hidden)
    h, c = torch.randn(shape) * 0.5, torch.randn(shape) * 0.5
    states = None if not with_states else h if cell == "gru" else (h, c)
    out, last = module(packed, states)
    dy = torch.randn(out.data.shape)
    (out.data * dy).sum().backward()
    case = {
        "cell": cell, "n_in": n_in, "n_hidden": n_hidden, "n_layers": n_layers, "bidirectional": bidirectional,
        "batch_sizes": packed.batch_sizes.tolist(), "x": flat(x), "y": flat(out.data), "dy": flat(dy),
        "dx": flat(x.grad), "h_last": flat(last if cell == "gru" else last[0]),
        "parameters": {name: flat(p) for name, p in module.named_parameters()},
        "gradients": {name: flat(p.grad) for name, p in module.named_parameters()},
    }
    if cell == "lstm":
        case["c_last"] = flat(last[1])
    if with_states:
        case["h_first"] = flat(h)
        if cell == "lstm":
            case["c_first"] = flat(c)
    return case


torch.manual_seed(20)
print("[")
print(",\n".join(json.dumps(make(*case), separators=(",", ":")) for case in CASES))
print("]")
print(f"torch {torch.__version__}", file=sys.stderr)
