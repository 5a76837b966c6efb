"""Writes ../data/bert_gradients.json: the vectors and gradients of a tiny BERT by transformers and PyTorch, in float64.

    python make_bert_gradients.py          (transformers 5.24, PyTorch 2.15 made the file that is committed)

Weights are those of ../data/bert_shapes/shapes.py. The loss is the sum of all unit vectors' elements times fixed factors
(fill, also in test_trainable_bert.c).
"""
import json, os, sys
import torch, transformers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "data", "bert_shapes"))
import shapes

CONFIG = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 12, "num_hidden_layers": 2,
          "max_position_embeddings": 9, "type_vocab_size": 2, "vocab_size": shapes.VOCABULARY_ROWS, "layer_norm_eps": 1e-5,
          "hidden_act": "gelu"}
SEQUENCES = [[2, 17, 5, 17, 90, 3], [2, 3], [2, 200, 5, 41, 42, 43, 44, 90, 3]]


def fill(n):
    return [(i * 7919 * 31 % 2003 - 1001) / 1001.0 for i in range(n)]


def run(pooling):
    config = transformers.BertConfig(**CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = transformers.BertModel(config, add_pooling_layer=False).double()
    names = shapes.tensors(CONFIG)
    model.load_state_dict({n: torch.from_numpy(shapes.values(n, s)).double() for n, s in names.items()}, strict=False)
    vectors = []
    for ids in SEQUENCES:
        rows = model(torch.tensor([ids])).last_hidden_state[0]
        pooled = {"mean": rows.mean(0), "cls": rows[0], "max": rows.max(0).values}[pooling]
        vectors.append(torch.nn.functional.normalize(pooled, dim=0))
    out = torch.stack(vectors)
    (out * torch.tensor(fill(out.numel()), dtype=torch.float32).double().view_as(out)).sum().backward()
    parameters = dict(model.named_parameters())
    numbers = {"vectors": out, **{n: parameters[n].grad for n in names}}
    return {n: [float(f"{v:.7g}") for v in t.detach().flatten().tolist()] for n, t in numbers.items()}


if __name__ == "__main__":
    with open(os.path.join(HERE, "..", "data", "bert_gradients.json"), "w") as f:
        json.dump({"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "config": CONFIG,
                   "sequences": SEQUENCES, "poolings": {p: run(p) for p in ("mean", "cls", "max")}}, f,
                  separators=(",", ":"))
        f.write("\n")
