"""The indexes and stores that bench/nearest measures mneme beside: each builds into a folder, opens from it, and finds the ten
nearest of one vector at a time.

    nearest_peers.py build PEER FOLDER VECTORS TEXTS
    nearest_peers.py tune  PEER FOLDER QUESTIONS TRUTH VECTORS RECALL    the smallest ef of EFS that reaches RECALL
    nearest_peers.py warm  PEER FOLDER QUESTIONS EF                      EF 0: the peer has none
    nearest_peers.py fresh PEER FOLDER QUESTIONS EF                      the first question alone

Each is a process of its own, so that memory and start are the peer's. VECTORS, QUESTIONS: raw float32 rows of 384; TRUTH: .npy,
for each question the score of its tenth nearest. One JSON object on stdout. The product of unit vectors is the cosine, so all
use the inner product."""
import importlib
import json
import os
import sys
import time

import numpy as np

DIMENSION, K = 384, 10
EFS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


class Peer:
    """build(folder, rows, texts); open(folder); find(vector) -> row numbers; set_ef(ef) of an open one where has_ef."""
    has_ef, has_texts, modules = True, False, ()
    keeps_ef = False  # from one process to the next


class Hnswlib(Peer):
    title, modules = "hnswlib M16", ("hnswlib",)

    def build(self, folder, rows, texts):
        import hnswlib
        index = hnswlib.Index("ip", DIMENSION)
        index.init_index(max_elements=len(rows), ef_construction=200, M=16)
        index.add_items(rows, np.arange(len(rows)), num_threads=os.cpu_count())
        index.save_index(os.path.join(folder, "index"))

    def open(self, folder):
        import hnswlib
        self.index = hnswlib.Index("ip", DIMENSION)
        self.index.load_index(os.path.join(folder, "index"))
        self.index.set_ef(64)

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def find(self, vector):
        return self.index.knn_query(vector, K, num_threads=1)[0][0]


class Usearch(Peer):
    """Mapped from its file, not loaded: that opens sooner and answers as fast."""
    title, modules, dtype = "usearch bf16", ("usearch.index",), "bf16"

    def build(self, folder, rows, texts):
        from usearch.index import Index
        index = Index(ndim=DIMENSION, metric="ip", dtype=self.dtype)
        index.add(np.arange(len(rows)), rows, threads=os.cpu_count())
        index.save(os.path.join(folder, "index"))

    def open(self, folder):
        from usearch.index import Index
        self.index = Index.restore(os.path.join(folder, "index"), view=True)

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def find(self, vector):
        return self.index.search(vector, K).keys


class UsearchI8(Usearch):
    title, dtype = "usearch i8", "i8"


class Faiss(Peer):
    title, modules = "faiss-cpu HNSW32", ("faiss",)

    def make(self):
        import faiss
        return faiss.IndexHNSWFlat(DIMENSION, 32, faiss.METRIC_INNER_PRODUCT)

    def build(self, folder, rows, texts):
        import faiss
        index = self.make()
        index.add(rows)
        faiss.write_index(index, os.path.join(folder, "index"))

    def open(self, folder):
        import faiss
        self.index = faiss.read_index(os.path.join(folder, "index"))

    def set_ef(self, ef):
        self.index.hnsw.efSearch = ef

    def find(self, vector):
        return self.index.search(vector[None, :], K)[1][0]


class FaissFlat(Faiss):
    title, has_ef = "faiss-cpu flat", False

    def make(self):
        import faiss
        return faiss.IndexFlatIP(DIMENSION)


class SqliteVec(Peer):
    title, modules, has_ef, has_texts = "sqlite-vec", ("apsw", "sqlite_vec"), False, True

    def connect(self, folder):
        import apsw
        import sqlite_vec
        self.connection = apsw.Connection(os.path.join(folder, "store.db"))
        self.connection.enable_load_extension(True)
        self.connection.load_extension(sqlite_vec.loadable_path())

    def build(self, folder, rows, texts):
        self.connect(folder)
        self.connection.execute(f"create virtual table memory using vec0(embedding float[{DIMENSION}] distance_metric=cosine, +text text)")
        with self.connection:
            self.connection.executemany("insert into memory(rowid, embedding, text) values (?, ?, ?)",
                                        ((i, rows[i].tobytes(), texts[i % len(texts)]) for i in range(len(rows))))
        self.connection.close()

    def open(self, folder):
        self.connect(folder)

    def find(self, vector):
        query = "select rowid, text from memory where embedding match ? and k = 10"
        return [row[0] for row in self.connection.execute(query, (vector.tobytes(),))]


class Chroma(Peer):
    title, modules, has_texts = "chroma", ("chromadb",), True
    keeps_ef = True

    def client(self, folder):
        import chromadb
        return chromadb.PersistentClient(folder, settings=chromadb.Settings(anonymized_telemetry=False))

    def build(self, folder, rows, texts):
        client = self.client(folder)
        memory = client.create_collection("memory", embedding_function=None, configuration={"hnsw": {"space": "ip", "ef_search": 100}})
        step = min(5000, client.get_max_batch_size())
        for i in range(0, len(rows), step):
            some = range(i, min(i + step, len(rows)))
            memory.add(ids=[str(j) for j in some], embeddings=rows[i:i + step], documents=[texts[j % len(texts)] for j in some])

    def open(self, folder):
        self.folder = folder
        self.memory = self.client(folder).get_collection("memory", embedding_function=None)

    def set_ef(self, ef):
        """An index that is open goes on with the ef that it was opened with."""
        from chromadb.api.shared_system_client import SharedSystemClient
        self.memory.modify(configuration={"hnsw": {"ef_search": ef}})
        SharedSystemClient.clear_system_cache()
        self.open(self.folder)

    def find(self, vector):
        found = self.memory.query(query_embeddings=[vector], n_results=K, include=["documents", "distances"])
        return [int(name) for name in found["ids"][0]]


PEERS = {"hnswlib": Hnswlib, "usearch-bf16": Usearch, "usearch-i8": UsearchI8, "faiss-hnsw": Faiss, "faiss-flat": FaissFlat,
         "sqlite-vec": SqliteVec, "chroma": Chroma}


def version_of(peer):
    module = importlib.import_module(peer.modules[-1].split(".")[0])
    return getattr(module, "__version__", "") or importlib.import_module("importlib.metadata").version(module.__name__)


def memory_mb():
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("VmRSS"))


def recall(peer, questions, truth, rows):
    """The share of the ten that are no further than the tenth nearest: equal distances are equally right."""
    found = np.array([list(peer.find(q))[:K] for q in questions])
    scores = np.einsum("qkd,qd->qk", rows[found], questions)
    return float(np.mean(scores >= truth[:, None] - 1e-6))


def build(peer, folder, vectors, texts):
    rows = np.fromfile(vectors, "<f4").reshape(-1, DIMENSION)
    with open(texts, encoding="utf-8") as file:
        lines = file.read().splitlines() if peer.has_texts else []
    started = time.perf_counter()
    peer.build(folder, rows, lines)
    took = time.perf_counter() - started
    sizes = (os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    return {"build_s": took, "bytes": sum(sizes)}


def tune(peer, folder, questions, truth, vectors, wanted):
    questions = np.fromfile(questions, "<f4").reshape(-1, DIMENSION)
    rows, truth = np.memmap(vectors, "<f4", "r").reshape(-1, DIMENSION), np.load(truth)
    peer.open(folder)
    tried = []
    for ef in EFS if peer.has_ef else (0,):
        if ef:
            peer.set_ef(ef)
        tried.append((ef, recall(peer, questions, truth, rows)))
        if tried[-1][1] >= float(wanted):
            break
    # Where none is enough, the first that is as good as any: more effort would only cost time.
    enough = min(float(wanted), max(reached for _, reached in tried) - 0.0005)
    ef, reached = next(one for one in tried if one[1] >= enough)
    if ef:
        peer.set_ef(ef)
    return {"engine": peer.title, "version": version_of(peer), "ef": ef, "recall": reached, "tried": tried}


def start(peer, folder, ef):
    peer.open(folder)
    if int(ef) and not peer.keeps_ef:
        peer.set_ef(int(ef))


def warm(peer, folder, questions, ef):
    for module in peer.modules:
        importlib.import_module(module)
    questions, before, took = np.fromfile(questions, "<f4").reshape(-1, DIMENSION), memory_mb(), []
    start(peer, folder, ef)
    for again in range(2):  # the first time warms up
        for question in questions:
            started = time.perf_counter()
            peer.find(question)
            took.append((time.perf_counter() - started) * 1000)
        took = sorted(took[-len(questions):])
    return {"p50_ms": took[len(took) // 2], "p99_ms": took[(len(took) * 99 + 99) // 100 - 1], "resident_mb": memory_mb(),
            "resident_before_mb": before}


def fresh(peer, folder, questions, ef):
    question = np.fromfile(questions, "<f4", DIMENSION)
    for module in peer.modules:
        importlib.import_module(module)
    started = time.perf_counter()
    start(peer, folder, ef)
    peer.find(question)
    return {"inside_ms": (time.perf_counter() - started) * 1000}


if __name__ == "__main__":
    print(json.dumps({"build": build, "tune": tune, "warm": warm, "fresh": fresh}[sys.argv[1]](PEERS[sys.argv[2]](), *sys.argv[3:])), flush=True)
    os._exit(0)  # how long a peer takes to end is not measured
