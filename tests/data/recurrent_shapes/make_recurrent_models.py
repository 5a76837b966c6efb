#!/usr/bin/env python3
"""Write recurrent.jsonl: what PyTorch's nn.LSTM and nn.GRU give for small models of many shapes.

    python3 make_recurrent_models.py

By hand, where torch and transformers are installed (bench/peers-environment makes such an environment in
~/.cache/mneme/bench-venv). Weights are made, not stored: tests/data/bert_shapes/shapes.py has the formula,
tests/encoder/recurrent_folder.h writes the same folders. The first line holds the texts; each further line a model: its
config.json, the type of its weights, and the unit vectors of the texts. Each text is run alone, in float64."""
import json
import os
import sys

import torch
import transformers
from transformers import BertTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "bert_shapes"))
import shapes  # noqa: E402

STORY = ("Once upon a time there was a poor miller who had a beautiful daughter. It happened that he had to go and speak to "
         "the King, and in order to make himself appear important he said to him, \"I have a daughter who can spin straw "
         "into gold.\" ")
TEXTS = ["", "a", "Who is there?", "the Miller's daughter, Zürich 1812: 42 sheaves of straw", STORY, STORY * 3, "in the end",
         "Who is there?", STORY * 12]
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def shape(name, cell, sizes, layers=1, both=True, pooling="attentive", join=True, dtype="F32", **more):
    """sizes: of the embedding, hidden, of the output."""
    config = {"model_type": "mneme-recurrent", "cell": cell, "vocab_size": shapes.VOCABULARY_ROWS, "embedding_size": sizes[0],
              "hidden_size": sizes[1], "num_layers": layers, "bidirectional": both, "pooling": pooling, "join_tokens": join,
              "output_size": sizes[2], "max_tokens": more.pop("window", 256), **more}
    return {"name": name, "dtype": dtype, "config": config}


SHAPES = [
    shape("lstm", "lstm", (24, 20, 32)),
    shape("gru", "gru", (24, 20, 32)),
    shape("lstm-one-way-mean", "lstm", (17, 13, 9), both=False, pooling="mean", join=False),
    shape("gru-one-way-mean", "gru", (19, 11, 7), both=False, pooling="mean", join=True, window=64),
    shape("lstm-two-layers", "lstm", (16, 21, 30), layers=2, join=False),
    shape("gru-two-layers-special", "gru", (15, 18, 24), layers=2, pooling="mean", special_tokens=True, window=100),
    shape("lstm-three-layers-f16", "lstm", (33, 9, 20), layers=3, dtype="F16"),
    shape("gru-one-way-bf16", "gru", (12, 35, 40), layers=2, both=False, dtype="BF16", window=512),
]


def tensors(config):
    """Names and shapes of what a recurrent encoder reads."""
    gates = {"lstm": 4, "gru": 3}[config["cell"]] * config["hidden_size"]
    width = config["hidden_size"] * (2 if config["bidirectional"] else 1)
    out = {"embedding.weight": (config["vocab_size"], config["embedding_size"])}
    for layer in range(config["num_layers"]):
        for end in ("", "_reverse")[:2 if config["bidirectional"] else 1]:
            out[f"recurrent.weight_ih_l{layer}{end}"] = (gates, width if layer else config["embedding_size"])
            out[f"recurrent.weight_hh_l{layer}{end}"] = (gates, config["hidden_size"])
            out[f"recurrent.bias_ih_l{layer}{end}"] = out[f"recurrent.bias_hh_l{layer}{end}"] = (gates,)
    if config["pooling"] == "attentive":
        out["attention.weight"], out["attention.bias"] = (1, width), (1,)
    joined = width + (config["embedding_size"] if config["join_tokens"] else 0)
    out["output.weight"], out["output.bias"] = (config["output_size"], joined), (config["output_size"],)
    return out


def encode(shape, tokenizer):
    config = shape["config"]
    w = {name: torch.from_numpy(shapes.values(name, size)).to(TYPES[shape["dtype"]]).double()
         for name, size in tensors(config).items()}
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[config["cell"]]
    net = kind(config["embedding_size"], config["hidden_size"], config["num_layers"], batch_first=True,
               bidirectional=config["bidirectional"]).double()
    net.load_state_dict({name[len("recurrent."):]: value for name, value in w.items() if name.startswith("recurrent.")})
    special, vectors, lengths = config.get("special_tokens", False), [], []
    for text in TEXTS:
        ids = tokenizer(text, add_special_tokens=special, truncation=True, max_length=config["max_tokens"])["input_ids"]
        ids = ids or [tokenizer.unk_token_id]
        tokens = w["embedding.weight"][ids]
        with torch.inference_mode():
            states = net(tokens[None])[0][0]
            scores = states @ w["attention.weight"][0] + w["attention.bias"] if config["pooling"] == "attentive" else \
                torch.zeros(len(ids), dtype=torch.float64)
            weights = scores.softmax(0)
            joined = torch.cat([weights @ states, weights @ tokens]) if config["join_tokens"] else weights @ states
            out = w["output.weight"] @ joined + w["output.bias"]
        vectors.append([float(f"{x:.7g}") for x in (out / out.norm()).tolist()])
        lengths.append(len(ids))
    return lengths, vectors


def main():
    torch.set_num_threads(1)
    tokenizer = BertTokenizer(os.path.join(HERE, "..", "bert_shapes", "vocab.txt"))
    lines = [{"made_with": {"torch": torch.__version__, "transformers": transformers.__version__}, "texts": TEXTS}]
    for each in SHAPES:
        lengths, vectors = encode(each, tokenizer)
        lines.append({**each, "tokens": lengths, "vectors": vectors})
        print(each["name"], "tokens", lengths)
    with open(os.path.join(HERE, "recurrent.jsonl"), "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
