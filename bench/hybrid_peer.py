"""The peer of bench/hybrid: MiniLM in onnxruntime (the graph of its own transformer optimizer, f32, both cores) before chroma.

    hybrid_peer.py build FOLDER MODEL VECTORS TEXTS    the collection and the graph
    hybrid_peer.py warm  FOLDER MODEL QUESTIONS        all questions once to warm up, once timed
    hybrid_peer.py fresh FOLDER MODEL QUESTIONS        the first question alone

QUESTIONS: texts, one a line. One JSON object on stdout."""
import json
import os
import sys
import time


class Memory:
    def __init__(self, folder, model):
        import nearest_peers
        import numpy
        import onnxruntime
        from tokenizers import Tokenizer
        self.numpy = numpy
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = os.cpu_count(), 1
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "encoder.onnx"), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(os.path.join(model, "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)
        self.chroma = nearest_peers.Chroma()
        self.chroma.open(os.path.join(folder, "chroma"))

    def ask(self, text):
        ids = self.numpy.array([self.tokenizer.encode(text).ids], self.numpy.int32)
        hidden = self.session.run(None, {"ids": ids, "types": ids * 0, "mask": ids * 0 + 1})[0]
        vector = hidden[0].mean(0)
        return self.chroma.find(vector / self.numpy.linalg.norm(vector))


def build(folder, model, vectors, texts):
    import nearest_peers
    import onnx
    from bert_models import onnx_model
    onnx.save(onnx_model(model), os.path.join(folder, "encoder.onnx"))
    os.mkdir(os.path.join(folder, "chroma"))
    return nearest_peers.build(nearest_peers.Chroma(), os.path.join(folder, "chroma"), vectors, texts)


def read_questions(path):
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def warm(folder, model, questions):
    memory, texts, took = Memory(folder, model), read_questions(questions), []
    for text in texts + texts:
        started = time.perf_counter()
        memory.ask(text)
        took.append((time.perf_counter() - started) * 1000)
    took = sorted(took[len(texts):])
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[(len(took) * 99 + 99) // 100 - 1]}


def fresh(folder, model, questions):
    return {"answer": [int(i) for i in Memory(folder, model).ask(read_questions(questions)[0])]}


if __name__ == "__main__":
    print(json.dumps({"build": build, "warm": warm, "fresh": fresh}[sys.argv[1]](*sys.argv[2:])), flush=True)
    os._exit(0)  # how long it takes to end is not measured
