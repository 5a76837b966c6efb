"""The shapes that make_expected.py computes and tests/encoder/test_bert_shapes.c rebuilds, and the weights of both.

Weights are made, not stored. Element i of the tensor called NAME is

    z     = splitmix64(fnv1a64(NAME) + (i + 1) * 0x9E3779B97F4A7C15 mod 2^64)
    sum   = the sum of the four 16-bit parts of z, less 131070      (an integer; roughly normal, deviation 37837)
    value = float32(sum) * float32(deviation / 37837) + centre      (in float32)

NAME is the name without the prefix "bert."; deviation and centre go by its ending (SCALES). Steele, Lea, Flood 2014, "Fast
splittable pseudorandom number generators"; FNV-1a after Fowler, Noll, Vo. All of it is exact, so C gives the same bits."""
import numpy as np

# ending of the name -> (deviation, centre); the first that fits
SCALES = [("LayerNorm.weight", 0.1, 1.0), ("LayerNorm.bias", 0.1, 0.0), ("embeddings.weight", 0.05, 0.0),
          ("embedding.weight", 0.6, 0.0), ("attention.weight", 1.0, 0.0), (".weight", 0.08, 0.0), (".bias", 0.05, 0.0),
          ("", 0.3, 0.0)]
VOCABULARY_ROWS = 208  # of the embedding table: more than vocab.txt has lines, as published models do


def values(name, shape):
    n = int(np.prod(shape))
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    total = sum((z >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48)).astype(np.int64) - 131070
    deviation, centre = next(s[1:] for s in SCALES if name.endswith(s[0]))
    out = total.astype(np.float32) * np.float32(deviation / 37837) + np.float32(centre)
    return out.reshape(shape)


def tensors(config):
    """Names (without prefix) and shapes of what a BERT encoder reads."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    out = {"embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
           "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
           "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden)}

    def norm(name):
        out[name + ".weight"] = out[name + ".bias"] = (hidden,)

    def linear(name, n_out, n_in):
        out[name + ".weight"], out[name + ".bias"] = (n_out, n_in), (n_out,)

    norm("embeddings.LayerNorm")
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(layer + "attention.self." + part, hidden, hidden)
        linear(layer + "attention.output.dense", hidden, hidden)
        norm(layer + "attention.output.LayerNorm")
        linear(layer + "intermediate.dense", wide, hidden)
        linear(layer + "output.dense", hidden, wide)
        norm(layer + "output.LayerNorm")
    return out


def pooling_files(hidden, pooling, newer):
    """modules.json and 1_Pooling/config.json as sentence-transformers 2 to 4, or (newer) 5 and 6 save them."""
    kinds = {"Transformer": "base.modules.transformer", "Pooling": "sentence_transformer.modules.pooling",
             "Normalize": "base.modules.normalize"}
    modules = [{"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "",
                "type": f"sentence_transformers.{kinds[kind] if newer else 'models'}.{kind}"} for i, kind in enumerate(kinds)]
    modes = {"cls_token": "cls", "mean_tokens": "mean", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len_tokens"}
    older = {"word_embedding_dimension": hidden, **{"pooling_mode_" + k: v == pooling for k, v in modes.items()}}
    return {"modules.json": modules,
            "1_Pooling/config.json": {"embedding_dimension": hidden, "pooling_mode": pooling, "include_prompt": True}
            if newer else older}


def shape(name, hidden, heads, wide, layers, pooling="mean", window=None, positions=512, dtype="F32", prefix="", **more):
    """One model: the JSON files of its folder, and how its weights are kept. pooling None: a folder without 1_Pooling."""
    newer = more.get("newer", False)
    config = {"architectures": ["BertModel"], "model_type": "bert", "hidden_size": hidden, "num_attention_heads": heads,
              "intermediate_size": wide, "num_hidden_layers": layers, "hidden_act": more.get("act", "gelu"),
              "layer_norm_eps": more.get("eps", 1e-12), "max_position_embeddings": positions, "vocab_size": VOCABULARY_ROWS,
              "type_vocab_size": more.get("types", 2), "pad_token_id": 0, "hidden_dropout_prob": 0.1,
              "attention_probs_dropout_prob": 0.1, "position_embedding_type": "absolute"}
    files = {"config.json": config,
             "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": more.get("lower", True),
                                       "model_max_length": window if newer else positions}}
    if newer:
        files["sentence_bert_config.json"] = {"transformer_task": "feature-extraction", "modality_config": {
            "text": {"method": "forward", "method_output_name": "last_hidden_state"}}, "module_output_name": "token_embeddings"}
    elif window:
        files["sentence_bert_config.json"] = {"max_seq_length": window, "do_lower_case": False}
    if pooling:
        files.update(pooling_files(hidden, pooling, newer))
    if more.get("prompts"):
        files["config_sentence_transformers.json"] = {"prompts": more["prompts"], "default_prompt_name": None}
    return {"name": name, "dtype": dtype, "prefix": prefix, "files": files}


SHAPES = [
    shape("minilm-l12-like", 96, 12, 384, 12, window=128),
    shape("bge-like", 128, 2, 250, 3, pooling="cls", window=512),
    shape("e5-like", 80, 5, 100, 2, window=64, prompts={"query": "query: ", "passage": "passage: "}),
    shape("gte-like-f16", 192, 6, 768, 2, window=512, dtype="F16"),
    shape("relu-without-pooling-folder", 48, 6, 75, 1, pooling=None, positions=40, act="relu", eps=1e-3),
    shape("bf16-max-bert-prefix", 120, 6, 333, 2, pooling="max", window=100, dtype="BF16", prefix="bert.", eps=1e-5),
    shape("cased-sqrt-document-prompt", 96, 3, 200, 3, pooling="mean_sqrt_len_tokens", window=17, lower=False, types=1,
          prompts={"query": "Find what answers: ", "document": "text: "}),
    shape("one-head-cls-bert-prefix", 64, 1, 130, 2, pooling="cls", window=33, prefix="bert.", act="relu",
          prompts={"query": "query: "}),
    shape("saved-by-newer-versions-cls", 48, 3, 110, 2, pooling="cls", window=29, newer=True,
          prompts={"query": "query: ", "document": ""}),
    shape("saved-by-newer-versions-max", 40, 5, 64, 1, pooling="max", window=70, newer=True),
    shape("odd-heads-narrow-inside", 45, 5, 20, 2, window=512),
]
