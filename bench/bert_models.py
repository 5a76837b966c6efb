"""all-MiniLM-L6-v2 (or another BERT folder) as the peers want it: a torch module, and the graph that onnxruntime's own
transformer optimizer makes of BERT (fused Attention, SkipLayerNormalization, BiasGelu), built here from the weights."""
import json
import os

import numpy as np


def read_config(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        return json.load(file)


def read_weights(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    return {name: np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], dtype=np.float32).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__" and t["dtype"] == "F32"}


class OnnxGraph:
    """Nodes and constants of one graph, added in order."""

    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        from onnx import numpy_helper
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def norm(self, prefix):
        return [self.constant(f"{prefix}.{part}", self.weights[f"{prefix}.{part}"]) for part in ("weight", "bias")]

    def product(self, out, x, name):
        self.add("MatMul", [x, self.constant(out + "_w", self.weights[name + ".weight"].T)], out)

    def bias(self, name):
        return self.constant(name + ".bias", self.weights[name + ".bias"])

    def add(self, kind, inputs, outputs, **attributes):
        from onnx import helper
        outputs = [outputs] if isinstance(outputs, str) else outputs
        domain = {} if kind == "MatMul" else {"domain": "com.microsoft"}
        self.nodes.append(helper.make_node(kind, inputs, outputs, **domain, **attributes))

    def layer(self, x, i):
        w, p, epsilon = self.weights, f"encoder.layer.{i}.", self.config["layer_norm_eps"]
        parts = [p + "attention.self." + n for n in ("query", "key", "value")]
        qkv = self.constant(p + "qkv", np.concatenate([w[n + ".weight"].T for n in parts], axis=1))
        bias = self.constant(p + "qkv_bias", np.concatenate([w[n + ".bias"] for n in parts]))
        self.add("Attention", [x, qkv, bias, "lengths"], p + "a", num_heads=self.config["num_attention_heads"])
        self.product(p + "b", p + "a", p + "attention.output.dense")
        self.add("SkipLayerNormalization", [p + "b", x, *self.norm(p + "attention.output.LayerNorm"),
                                            self.bias(p + "attention.output.dense")], p + "c", epsilon=epsilon)
        self.product(p + "d", p + "c", p + "intermediate.dense")
        self.add("BiasGelu", [p + "d", self.bias(p + "intermediate.dense")], p + "e")
        self.product(p + "f", p + "e", p + "output.dense")
        self.add("SkipLayerNormalization", [p + "f", p + "c", *self.norm(p + "output.LayerNorm"), self.bias(p + "output.dense")],
                 p + "x", epsilon=epsilon)
        return p + "x"


def onnx_model(folder):
    """ids, types, mask (batch, length) i32 -> the last hidden state (batch, length, hidden) f32."""
    from onnx import TensorProto, helper
    config = read_config(folder)
    graph = OnnxGraph(config, read_weights(folder))
    tables = [graph.constant(name, graph.weights[f"embeddings.{name}.weight"])
              for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")]
    graph.add("EmbedLayerNormalization", ["ids", "types", *tables, *graph.norm("embeddings.LayerNorm"), "mask"],
              ["x0", "lengths"], epsilon=config["layer_norm_eps"])
    x = "x0"
    for i in range(config["num_hidden_layers"]):
        x = graph.layer(x, i)
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["batch", "length"]) for n in ("ids", "types", "mask")]
    output = helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "length", config["hidden_size"]])
    whole = helper.make_graph(graph.nodes, "bert", inputs, [output], graph.constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    model.ir_version = 9
    return model


def torch_model(folder):
    """ids, mask (batch, length) -> unit vectors (batch, hidden): mean pooling, as MiniLM has it."""
    import torch
    from torch.nn import functional as F
    config, weights = read_config(folder), read_weights(folder)
    hidden, heads, epsilon = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]

    class Bert(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, array in weights.items():
                self.register_buffer(name.replace(".", "_"), torch.from_numpy(array.copy()))
            for i in range(config["num_hidden_layers"]):
                parts = [f"encoder_layer_{i}_attention_self_{n}_" for n in ("query", "key", "value")]
                for kind in ("weight", "bias"):
                    self.register_buffer(f"qkv_{i}_{kind}", torch.cat([getattr(self, p + kind) for p in parts]))

        def linear(self, x, name):
            return F.linear(x, getattr(self, name + "_weight"), getattr(self, name + "_bias"))

        def norm(self, x, name):
            return F.layer_norm(x, (hidden,), getattr(self, name + "_weight"), getattr(self, name + "_bias"), epsilon)

        def attention(self, x, mask, i):
            b, length = x.shape[0], x.shape[1]
            q, k, v = self.linear(x, f"qkv_{i}").view(b, length, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4).unbind(0)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return y.transpose(1, 2).reshape(b, length, hidden)

        def forward(self, ids, mask):
            x = self.embeddings_word_embeddings_weight[ids] + self.embeddings_position_embeddings_weight[:ids.shape[1]]
            x = self.norm(x + self.embeddings_token_type_embeddings_weight[0], "embeddings_LayerNorm")
            seen = mask[:, None, None, :].bool()
            for i in range(config["num_hidden_layers"]):
                p = f"encoder_layer_{i}_"
                y = self.linear(self.attention(x, seen, i), p + "attention_output_dense")
                x = self.norm(x + y, p + "attention_output_LayerNorm")
                y = self.linear(F.gelu(self.linear(x, p + "intermediate_dense")), p + "output_dense")
                x = self.norm(x + y, p + "output_LayerNorm")
            pooled = (x.float() * mask[:, :, None]).sum(1)
            return F.normalize(pooled, dim=1)

    return Bert().eval()
