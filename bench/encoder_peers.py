"""The encoders that mneme is measured beside, each at its best: ids ready, texts sorted by length into batches so that
hardly anything is padding, batch size (and for OpenVINO streams) tried out on a sample before the measurement.

Every peer runs in a process of its own, so that no engine's waiting threads disturb another's run."""
import logging
import multiprocessing
import os
import tempfile
import time
import warnings

import numpy as np

BATCHES = (8, 16, 32, 64)


def processor_flags():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return set(next((line for line in file if line.startswith("flags")), "").split())


class Peer:
    """A peer gives unit vectors for one padded batch; `settings` are those worth trying."""
    needs = set()  # processor flags without which the precision is only emulated

    def __init__(self, folder, threads):
        self.folder, self.threads = folder, threads

    def settings(self):
        return [{"batch": batch} for batch in BATCHES]

    def prepare(self, setting):
        pass

    def batches(self, sequences, size):
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
        for start in range(0, len(order), size):
            some = order[start:start + size]
            length = max(len(sequences[i]) for i in some)
            ids, mask = np.zeros((len(some), length), np.int32), np.zeros((len(some), length), np.int32)
            for row, i in enumerate(some):
                ids[row, :len(sequences[i])] = sequences[i]
                mask[row, :len(sequences[i])] = 1
            yield some, ids, mask

    def encode(self, sequences, setting):
        parts = [(some, self.vectors(ids, mask)) for some, ids, mask in self.batches(sequences, setting["batch"])]
        return gather(parts, len(sequences))


def gather(parts, n):
    vectors = np.zeros((n, parts[0][1].shape[1]), np.float32)
    for some, part in parts:
        vectors[some] = part
    return vectors


class OnnxruntimeF32(Peer):
    title = "onnxruntime fp32"

    def __init__(self, folder, threads):
        super().__init__(folder, threads)
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.version = onnxruntime.__version__
        self.session = onnxruntime.InferenceSession(self.model(), options, providers=["CPUExecutionProvider"])

    def model(self):
        from bert_models import onnx_model
        return onnx_model(self.folder).SerializeToString()

    def vectors(self, ids, mask):
        hidden = self.session.run(None, {"ids": ids, "types": np.zeros_like(ids), "mask": mask})[0]
        pooled = np.matmul(mask[:, None, :].astype(np.float32), hidden)[:, 0]
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


class OnnxruntimeInt8(OnnxruntimeF32):
    """Dynamic quantisation, per channel. Without VNNI, 8-bit products saturate: weights get 7 bits there, as its manual says."""
    title = "onnxruntime int8"

    def model(self):
        import onnx
        from bert_models import onnx_model
        from onnxruntime.quantization import QuantType, quantize_dynamic
        logging.disable(logging.WARNING)
        with tempfile.TemporaryDirectory() as folder:
            plain, quantised = os.path.join(folder, "f32.onnx"), os.path.join(folder, "int8.onnx")
            onnx.save(onnx_model(self.folder), plain)
            quantize_dynamic(plain, quantised, op_types_to_quantize=["MatMul", "Attention"], per_channel=True,
                             reduce_range=not processor_flags() & {"avx512_vnni", "avx_vnni"}, weight_type=QuantType.QInt8,
                             extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
            with open(quantised, "rb") as file:
                return file.read()


class Torch(Peer):
    precision = "float32"

    def __init__(self, folder, threads):
        super().__init__(folder, threads)
        import torch
        from bert_models import torch_model
        torch.set_num_threads(threads)
        self.torch, self.version = torch, torch.__version__.split("+")[0]
        self.model = torch_model(folder).to(getattr(torch, self.precision))

    def vectors(self, ids, mask):
        with self.torch.inference_mode():
            return self.model(self.torch.from_numpy(ids).long(), self.torch.from_numpy(mask)).float().numpy()


class TorchF32(Torch):
    title = "torch f32"


class TorchBf16(Torch):
    title, precision, needs = "torch bf16", "bfloat16", {"avx512_bf16", "amx_bf16"}


class OpenVino(Peer):
    """Converted from the torch module; dynamic shapes. One request with all threads, or one per stream and thread."""
    precision = "f32"

    def __init__(self, folder, threads):
        super().__init__(folder, threads)
        import openvino
        import torch
        from bert_models import torch_model
        self.openvino, self.version = openvino, openvino.__version__.split("-")[0]
        example = {"ids": torch.ones((2, 7), dtype=torch.int32), "mask": torch.ones((2, 7), dtype=torch.int32)}
        warnings.simplefilter("ignore")  # torch's tracing, which openvino uses, is deprecated
        self.model = openvino.convert_model(torch_model(folder), example_input=example,
                                            input=[("ids", [-1, -1], np.int32), ("mask", [-1, -1], np.int32)])

    def settings(self):
        return [{"batch": batch, "streams": streams} for streams in sorted({1, self.threads}) for batch in BATCHES]

    def prepare(self, setting):
        compiled = self.openvino.Core().compile_model(self.model, "CPU", {
            "INFERENCE_PRECISION_HINT": self.precision, "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": setting["streams"]})
        self.queue = self.openvino.AsyncInferQueue(compiled, setting["streams"])

    def encode(self, sequences, setting):
        parts = []
        self.queue.set_callback(lambda request, some: parts.append((some, request.get_output_tensor().data.copy())))
        for some, ids, mask in self.batches(sequences, setting["batch"]):
            self.queue.start_async({"ids": ids, "mask": mask}, some)
        self.queue.wait_all()
        return gather(parts, len(sequences))


class OpenVinoF32(OpenVino):
    title = "OpenVINO f32"


class OpenVinoBf16(OpenVino):
    title, precision, needs = "OpenVINO bf16", "bf16", {"avx512_bf16", "amx_bf16"}


PEERS = {"torch-f32": TorchF32, "torch-bf16": TorchBf16, "onnxruntime-fp32": OnnxruntimeF32, "onnxruntime-int8": OnnxruntimeInt8,
         "openvino-f32": OpenVinoF32, "openvino-bf16": OpenVinoBf16}


# ---- one process per peer

def tune(peer, sample):
    best = None
    for setting in peer.settings():
        peer.prepare(setting)
        peer.encode(sample[:len(sample) // 4], setting)
        started = time.perf_counter()
        peer.encode(sample, setting)
        took = time.perf_counter() - started
        if best is None or took < best[0]:
            best = (took, setting)
    peer.prepare(best[1])
    return best[1]


def serve(pipe, name, folder, threads):
    """Says None or why the peer cannot run; then answers ("tune", sequences) with (title, version, setting) and ("encode",
    sequences) with (seconds, vectors)."""
    try:
        peer, setting = PEERS[name](folder, threads), None
    except Exception as problem:  # whatever a peer's installation lacks: the others are measured all the same
        pipe.send(f"{type(problem).__name__}: {problem}")
        return
    pipe.send(None)
    while True:
        request, sequences = pipe.recv()
        if request == "stop":
            return
        if request == "tune":
            setting = tune(peer, sequences)
            pipe.send((peer.title, peer.version, setting))
        else:
            started = time.perf_counter()
            vectors = peer.encode(sequences, setting)
            pipe.send((time.perf_counter() - started, vectors))


class PeerProcess:
    def __init__(self, name, folder, threads):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, folder, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.refusal = self.pipe.recv()

    def ask(self, request, sequences):
        self.pipe.send((request, sequences))
        return self.pipe.recv()

    def stop(self):
        if self.refusal is None:
            self.pipe.send(("stop", None))
        self.process.join()
