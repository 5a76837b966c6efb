"""Token ids and speed of mneme's tokenizer beside Hugging Face `tokenizers`, same vocabulary, same texts, one run.

Ids: texts in many scripts, every text, query and line of ../shared/data, random bytes (decoded with replacement, as mneme
does) and random code points; every difference is printed. Special tokens are left out on both sides.

Speed: the English texts in documents of about 16 KB, ids only, one core, in turn. The peer gets its best call:
encode_batch_fast, which keeps no offsets. mneme is called once a document, through ctypes. Processor time is counted, so
that other work on the machine disturbs little."""
import argparse
import ctypes
import glob
import json
import os
import random
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "mneme")

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń; Größe, naïve façade, ŁÓDŹ, ﬃ, Đặng Văn, İstanbul ığdır",
    "Greek": "Ξεσκεπάζω την ψυχοφθόρα σας βδελυγμία. ΟΔΥΣΣΕΥΣ ἀρχὴ ᾧ",
    "Cyrillic": "Съешь ещё этих мягких французских булок. Ёлка Йод Ђорђе",
    "Armenian": "Բարև, աշխարհ։ ԲԵՐ և ՙ",
    "Hebrew": "דג סקרן שט בים מאוכזב שָׁלוֹם עֲלֵיכֶם",
    "Arabic": "نص حكيم له سر قاطع وذو شأن عظيم ٠١٢٣ السَّلَامُ",
    "Devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण १२३।",
    "Bengali": "আমি কাঁচ খেতে পারি, তাতে আমার কোনো ক্ষতি হয় না।",
    "Tamil": "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์",
    "Georgian": "გთხოვთ ახლავე გაიაროთ რეგისტრაცია ႠႡ Ა",
    "Ethiopic": "ሰላም ለዓለም፡ ኢትዮጵያ።",
    "Hangul": "키스의 고유조건은 입술끼리 만나야 하고 ᄀᄁ 가각",
    "Kana": "いろはにほへと ちりぬるを。ｶﾀｶﾅ ガギグゲゴ ㍿ ー〜",
    "Han": "視野無限廣，窗外有藍天。㐀䶵𠀀𪛖豈 漢字混じりtext",
    "symbols": "½ ² ™ ① ∑ ≠ → ♥ € £ … – — ‘’ “” «» † ‡ ‰ 🙂🚀👨‍👩‍👧🏽🇩🇪❤️ 1️⃣",
    "spaces": "a\u00a0b\u2003c\u3000d\u200be\ufefff\u2028g\u0085h\u000bi\u000cj\u180ek\u00adl\x00m\x01n\x7fo",
    "special": "[CLS] x[SEP]y [MASK][PAD] [UNK] [cls] [SEP [CLS #hash ##ing",
    "long": "x" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "ab12" * 40,
}


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 508)]


class Tokens(ctypes.Structure):
    _fields_ = [("n", ctypes.c_size_t), ("ids", ctypes.POINTER(ctypes.c_uint32)), ("starts", ctypes.c_void_p), ("ends", ctypes.c_void_p)]


class Mneme:
    def __init__(self, library, model):
        self.lib, self.error, settings = ctypes.CDLL(library), Error(), ctypes.c_void_p()
        self.encoder = ctypes.c_void_p()
        self.check(self.lib.mneme_settings_new(ctypes.byref(settings), ctypes.byref(self.error)))
        self.check(self.lib.mneme_settings_set(settings, b"encoder.model", model.encode(), ctypes.byref(self.error)))
        self.check(self.lib.mneme_encoder_open(settings, ctypes.byref(self.encoder), ctypes.byref(self.error)))
        self.lib.mneme_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p]
        self.lib.mneme_tokens_free.argtypes = [ctypes.c_void_p]

    def check(self, status):
        if status != 0:
            raise SystemExit("mneme: " + self.error.message.decode())

    def tokenize(self, data):
        """Tokens of UTF-8 bytes; free them."""
        tokens = ctypes.POINTER(Tokens)()
        self.check(self.lib.mneme_tokenize(self.encoder, data, len(data), False, ctypes.byref(tokens), ctypes.byref(self.error)))
        return tokens

    def ids(self, data):
        tokens = self.tokenize(data)
        ids = tokens.contents.ids[:tokens.contents.n]
        self.lib.mneme_tokens_free(tokens)
        return ids


def shared_texts(data):
    """{file: texts}: every string field of the JSONL files, every line of the text files."""
    found = {}
    for path in sorted(glob.glob(os.path.join(data, "**", "*"), recursive=True)):
        if not path.endswith((".jsonl", ".txt", ".tsv")):
            continue
        texts = []
        with open(path, encoding="utf-8") as file:
            for line in file:
                line = line.rstrip("\n")
                if path.endswith(".jsonl"):
                    texts += [value for value in json.loads(line).values() if isinstance(value, str)]
                texts.append(line)
        if texts:
            found[os.path.relpath(path, data)] = texts
    if not found:
        raise SystemExit(f"no texts in {data}; name the folder with --data")
    return found


def random_texts(n):
    def points(low, high, size):
        return "".join(chr(c) for c in (random.randrange(low, high) for _ in range(size)) if not 0xD800 <= c < 0xE000)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ 0123456789.,'-"
    return {"random bytes": [random.randbytes(60) for _ in range(n)],
            "random code points": [points(0, 0x110000, 40) for _ in range(n)],
            "random code points < U+3100": [points(0, 0x3100, 40) for _ in range(n)],
            "random ASCII": [points(0, 0x80, 100) for _ in range(n)],
            "random letters": ["".join(random.choice(letters) for _ in range(120)) for _ in range(n)],
            "every code point": ["a" + chr(c) + "b " + chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]}


def compare_ids(ours, peer, name, texts, shown):
    """Print one line of counts and up to `shown` differences; how many there were."""
    n_tokens = n_different = 0
    pairs = [(t, t.decode("utf-8", "replace")) if isinstance(t, bytes) else (t.encode(), t) for t in texts]
    for start in range(0, len(pairs), 4096):
        some = pairs[start:start + 4096]
        for (data, text), theirs in zip(some, peer.encode_batch([t for _, t in some], add_special_tokens=False)):
            ids = ours.ids(data)
            n_tokens += len(ids)
            if ids == theirs.ids:
                continue
            n_different += 1
            if n_different <= shown:
                print(f"  different: {text!r}\n    mneme      {ids}\n    tokenizers {theirs.ids}")
    print(f"{name:30} {len(texts):9} texts {n_tokens:10} tokens {n_different:6} different")
    return n_different


def documents(data):
    texts = []
    for path in sorted(glob.glob(os.path.join(data, "text", "*.txt"))):
        texts += open(path, encoding="utf-8").read().split("\n")
    for path in sorted(glob.glob(os.path.join(data, "*", "corpus.jsonl"))):
        texts += [json.loads(line)["text"] for line in open(path, encoding="utf-8")]
    found, part, size = [], [], 0
    for text in texts:
        part.append(text)
        size += len(text) + 1
        if size > 16384:
            found.append("\n".join(part))
            part, size = [], 0
    return found + ["\n".join(part)]


def measure(ours, peer, data, rounds):
    """Megabytes a second of both: [(mneme, peer)] of each round."""
    texts = documents(data)
    encoded = [t.encode() for t in texts]
    megabytes = sum(len(e) for e in encoded) / 1e6
    pairs = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(10):
            for text in encoded:
                ours.lib.mneme_tokens_free(ours.tokenize(text))
        mine = 10 * megabytes / (time.process_time() - started)
        started = time.process_time()
        peer.encode_batch_fast(texts, add_special_tokens=False)
        pairs.append((mine, megabytes / (time.process_time() - started)))
    return megabytes, pairs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.path.join(ROOT, "..", "shared", "data"), help="folder of texts (.txt, .jsonl)")
    parser.add_argument("--model", default=os.path.join(CACHE, "models", "all-MiniLM-L6-v2"), help="model folder")
    parser.add_argument("--library", default=os.path.join(ROOT, "build", "libmneme.so"))
    parser.add_argument("--random", type=int, default=2000, help="texts of each random kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=1000000, help="differences printed of each kind of text")
    parser.add_argument("--rounds", type=int, default=5, help="how often both are measured, in turn; 0: ids only")
    args = parser.parse_args()
    random.seed(args.seed)
    peer = tokenizers.Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
    peer.no_padding()
    peer.no_truncation()
    ours = Mneme(args.library, args.model)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    processor = next((l.split(":", 1)[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), "unknown")
    print(f"{processor}; mneme beside tokenizers {tokenizers.__version__}; seed {args.seed}\n")
    kinds = {"script: " + name: [text] for name, text in SCRIPTS.items()}
    kinds.update(shared_texts(args.data))
    kinds.update(random_texts(args.random))
    different = sum(compare_ids(ours, peer, name, texts, args.show) for name, texts in kinds.items())
    print(f"\n{different} of {sum(len(t) for t in kinds.values())} texts have other ids")
    if args.rounds:
        megabytes, pairs = measure(ours, peer, args.data, args.rounds)
        ratios = [a / b for a, b in pairs]
        print(f"{megabytes:.1f} MB of English, one core, processor time, {args.rounds} rounds in turn: mneme {statistics.median(p[0] for p in pairs):.1f} MB/s, "
              f"tokenizers {statistics.median(p[1] for p in pairs):.1f} MB/s, ratio {statistics.median(ratios):.1f} "
              f"({min(ratios):.1f}-{max(ratios):.1f})")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
