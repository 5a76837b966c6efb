"""Writes ../data/transformer_cases.json: outputs and gradients of small Transformer layers by PyTorch, in float64.

    python make_transformer_cases.py          (PyTorch 2.15 made the file that is committed)

Numbers are not stored where a formula makes them (fill, also in test_transformer_layers.c). Each sequence runs by itself
through torch.nn.TransformerEncoderLayer or DecoderLayer; the loss is the sum of all outputs times fixed factors.
"""
import json, os, zlib
import torch
from torch import nn

torch.set_default_dtype(torch.float64)


def fill(name, n, scale, centre=0.0):
    key = zlib.crc32(name.encode())
    values = [((i * 7919 + key % 100003) * 31 % 2003 - 1001) / 1001.0 * scale + centre for i in range(n)]
    return torch.tensor(values, dtype=torch.float32).double()


def parameter(name, *shape):
    n = 1
    for s in shape:
        n *= s
    if name.endswith("LayerNorm.weight"):
        return fill(name, n, 0.5, 1.0).view(*shape)
    return fill(name, n, 0.4).view(*shape)


# Name in the file -> the module's parameter, and which third of it.
def names_of(layer, crosses):
    def attention(prefix, module):
        for i, part in enumerate(("query", "key", "value")):
            yield f"{prefix}.self.{part}.weight", module.in_proj_weight, i
            yield f"{prefix}.self.{part}.bias", module.in_proj_bias, i
        yield f"{prefix}.output.dense.weight", module.out_proj.weight, None
        yield f"{prefix}.output.dense.bias", module.out_proj.bias, None

    def plain(prefix, module):
        yield f"{prefix}.weight", module.weight, None
        yield f"{prefix}.bias", module.bias, None

    yield from attention("attention", layer.self_attn)
    yield from plain("attention.output.LayerNorm", layer.norm1)
    if crosses:
        yield from attention("crossattention", layer.multihead_attn)
        yield from plain("crossattention.output.LayerNorm", layer.norm2)
    yield from plain("intermediate.dense", layer.linear1)
    yield from plain("output.dense", layer.linear2)
    yield from plain("output.LayerNorm", layer.norm3 if crosses else layer.norm2)


def third(tensor, i):
    return tensor if i is None else tensor.chunk(3, 0)[i]


def set_parameters(layer, crosses):
    with torch.no_grad():
        for name, tensor, i in names_of(layer, crosses):
            part = third(tensor, i)
            part.copy_(parameter(name, *part.shape))


ACTIVATIONS = {"gelu": nn.functional.gelu, "relu": nn.functional.relu,
               "gelu_tanh": lambda x: nn.functional.gelu(x, approximate="tanh")}


def run(case):
    h, crosses = case["hidden"], case["crosses"]
    kind = nn.TransformerDecoderLayer if crosses else nn.TransformerEncoderLayer
    layer = kind(h, case["n_heads"], case["intermediate"], 0.0, ACTIVATIONS[case["activation"]], layer_norm_eps=1e-5,
                 batch_first=True, norm_first=case["norm_first"])
    set_parameters(layer, crosses)
    lengths, memory_lengths = case["lengths"], case["memory_lengths"]
    x = fill("x", sum(lengths) * h, 1.5).view(-1, h).requires_grad_()
    memory = fill("memory", sum(memory_lengths) * h, 1.5).view(-1, h).requires_grad_()
    out = []
    for own, its in zip(x.split(lengths), memory.split(memory_lengths) if crosses else lengths):
        n = own.shape[0]
        mask = torch.full((n, n), float("-inf")).triu(1) if case["causal"] else None
        if crosses:
            out.append(layer(own[None], its[None], tgt_mask=mask)[0])
        else:
            out.append(layer(own[None], src_mask=mask)[0])
    y = torch.cat(out)
    (y * fill("factors", y.numel(), 1.0).view(-1, h)).sum().backward()
    gradients = {name: third(tensor.grad, i) for name, tensor, i in names_of(layer, crosses)}
    results = {"y": y, "dx": x.grad, **({"d_memory": memory.grad} if crosses else {}), **gradients}
    return {**case, "results": {k: [float(f"{v:.7g}") for v in t.detach().flatten().tolist()] for k, t in results.items()}}


def case(name, **options):
    base = dict(name=name, hidden=6, n_heads=2, intermediate=10, norm_first=False, causal=False, crosses=False,
                activation="gelu", lengths=[5, 1, 4], memory_lengths=[])
    return {**base, **options}


CASES = [
    case("bert", hidden=8, n_heads=4, intermediate=12),
    case("gpt", norm_first=True, causal=True, activation="gelu_tanh"),
    case("decoder", causal=True, crosses=True, activation="relu", lengths=[3, 2, 7], memory_lengths=[4, 6, 1]),
    case("decoder with the norm first", norm_first=True, causal=True, crosses=True, memory_lengths=[2, 5, 3]),
]

if __name__ == "__main__":
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    with open(os.path.join(folder, "transformer_cases.json"), "w") as f:
        json.dump({"torch": torch.__version__.split("+")[0], "cases": [run(c) for c in CASES]}, f,
                  separators=(",", ":"))
        f.write("\n")
