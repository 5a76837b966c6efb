#!/usr/bin/env python3
"""Write expected.jsonl: what sentence-transformers gives for every shape in shapes.py.

    python3 make_expected.py

By hand, where torch, transformers and sentence-transformers are installed (bench/compare-encoders makes such an environment
in ~/.cache/mneme/bench-venv). The first line holds the texts; each further line a model: the JSON files of its folder, how
its weights are kept, and the unit vectors of the texts as passages and (where a prompt makes them differ) as queries."""
import json
import os
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer, __version__

import shapes

HERE = os.path.dirname(os.path.abspath(__file__))
STORY = ("Once upon a time there was a poor miller who had a beautiful daughter. It happened that he had to go and speak to "
         "the King, and in order to make himself appear important he said to him, \"I have a daughter who can spin straw "
         "into gold.\" ")
TEXTS = ["", "a", "Who is there?", "the Miller's daughter, Zürich 1812: 42 sheaves of straw", STORY, STORY * 3, STORY * 12]
KINDS = {"passage": ("passage", "document"), "query": ("query",)}
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def write_folder(shape, folder):
    for name, content in shape["files"].items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file)
    if "modules.json" in shape["files"]:
        os.makedirs(os.path.join(folder, "2_Normalize"))
    with open(os.path.join(HERE, "vocab.txt"), encoding="utf-8") as source, \
            open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as file:
        file.write(source.read())
    tensors = {shape["prefix"] + name: torch.from_numpy(shapes.values(name, size)).to(TYPES[shape["dtype"]])
               for name, size in shapes.tensors(shape["files"]["config.json"]).items()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def encode(model, kind):
    prompts = [model.prompts[name] for name in KINDS[kind] if model.prompts.get(name)]
    vectors = model.encode(TEXTS, prompt=prompts[0] if prompts else None, normalize_embeddings=True, batch_size=1,
                           show_progress_bar=False)
    assert np.isfinite(vectors).all()
    return [[float(f"{x:.7g}") for x in row] for row in vectors.tolist()]


def main():
    torch.set_num_threads(1)
    lines = [{"made_with": {"torch": torch.__version__, "transformers": transformers.__version__,
                            "sentence_transformers": __version__}, "texts": TEXTS}]
    for shape in shapes.SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            write_folder(shape, folder)
            model = SentenceTransformer(folder, device="cpu", model_kwargs={"dtype": torch.float32})
            lengths = [int(model.tokenize([text])["input_ids"].shape[1]) for text in TEXTS]
            passage, query = encode(model, "passage"), encode(model, "query")
        line = {**shape, "tokens": lengths, "passage": passage}
        if query != passage:
            line["query"] = query
        lines.append(line)
        print(shape["name"], "window", model.max_seq_length, "tokens", lengths)
    with open(os.path.join(HERE, "expected.jsonl"), "w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
