"""Texts of the dictionaries that Debian packages, as JSONL for mneme: 8 MB of WordNet's glosses with their words (3 MB),
entries of the GNU Collaborative International Dictionary of English (4 MB) and of the Free On-line Dictionary of Computing
(1 MB), chosen and mixed at random, the same on every run.

dictionary_texts.py FOLDER OUT: the folder has wordnet/data.* and dictd/{gcide,foldoc}.dict.dz.
"""
import gzip
import json
import os
import random
import re
import sys

SHARES = {"wordnet": 3_000_000, "gcide": 4_000_000, "foldoc": 1_000_000}  # characters
LEAST, MOST = 300, 2000  # characters of an entry of the other two, of which most are shorter


def wordnet(folder):
    """wndb(5WN): number, file, kind, count of words in hexadecimal, word and sense in turn, ..., "|", gloss."""
    for kind in ("noun", "verb", "adj", "adv"):
        with open(os.path.join(folder, "wordnet", "data." + kind), encoding="latin-1") as lines:
            for line in lines:
                if line.startswith("  ") or "|" not in line:  # the licence
                    continue
                fields, gloss = line.split("|", 1)
                fields = fields.split()
                words = [re.sub(r"\(.*\)", "", w).replace("_", " ") for w in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
                yield ", ".join(words[:3]) + ": " + gloss.strip().replace('; "', '. "')


def entries(folder, name):
    """Entries begin at the margin; pronunciations, etymologies and marks of references are left out."""
    with gzip.open(os.path.join(folder, "dictd", name + ".dict.dz"), "rt", encoding="utf-8", errors="replace") as file:
        text = file.read()
    for entry in re.split(r"\n(?=[A-Za-z])", text):
        if name == "gcide":
            entry = re.sub(r"\[[^\]]*\]", " ", re.sub(r"\\[^\\\n]*\\", " ", entry))
        entry = re.sub(r"\s+", " ", re.sub(r"[{}]", "", entry)).strip()
        if len(entry) >= LEAST:
            yield entry[:MOST]


def main():
    folder, out = sys.argv[1:]
    order = random.Random(5)
    chosen = []
    sources = {"wordnet": list(wordnet(folder)), "gcide": list(entries(folder, "gcide")), "foldoc": list(entries(folder, "foldoc"))}
    for texts in sources.values():
        order.shuffle(texts)
    for name, texts in sources.items():
        taken = 0
        for text in texts:
            if taken > SHARES[name]:
                break
            chosen.append(text)
            taken += len(text)
    order.shuffle(chosen)
    with open(out, "w", encoding="utf-8") as file:
        for i, text in enumerate(chosen):
            file.write(json.dumps({"id": f"d{i}", "text": text}) + "\n")
    print(f"{out}: {len(chosen)} texts, {sum(map(len, chosen)) / 1e6:.1f} million characters", file=sys.stderr)


main()
