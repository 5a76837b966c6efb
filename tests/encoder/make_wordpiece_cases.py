#!/usr/bin/env python3
"""Write tests/data/train/wordpiece_cases.jsonl: vocabularies that WordPieceTrainer of the `tokenizers` package learns from
small texts, and ids by them.

    python3 make_wordpiece_cases.py

That trainer gives "##" characters their ids in the order of a hash table, another one in each run, on which the merges
of equally frequent pairs depend. Here all single characters are handed to it as special tokens, in the order of code
points, plain ones first: then it repeats, and has nothing left to number itself."""
import collections
import json
import os
import random

from tokenizers import Tokenizer, decoders
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

here = os.path.dirname(os.path.abspath(__file__))
data = os.path.join(here, "..", "data")
random.seed(11)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ENGLISH = [
    "The boundary layer of a thin flat plate: the boundary-layer flow is laminar near its leading edge.",
    "Heat transfer in the laminar boundary layer, and the transfer of heat through a turbulent layer of air.",
    "Wings flutter; the flutter of wings at supersonic speed, at transonic speeds, and hypersonic ones.",
    "An aeroelastic wing's aeroelasticity: aeroelastic fluttering, the layers' thickness, and unaffected plates.",
    "banana bananas ananas aaaa aaaaa aaaaaa abababab babab banana aaaa [MASK] 2026-11-26",
]
SCRIPTS = [
    "Zażółć gęślą jaźń. Größe, naïve façade; œuvre ÆØÅ Größen naïvely façades",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία την ψυχοφθόρα. Съешь ещё этих мягких булок, ещё булок",
    "視野無限廣，窗外有藍天 視野 藍天。 窗外 天天",
    "カタカナとひらがな カタカナ ｶﾞ ひらがな 한국어 한국어를 İstanbul e\u0301te\u0301 \u00bd x\u200by",
]


def words_of(texts, settings):
    normalizer, splitter = BertNormalizer(**settings), BertPreTokenizer()
    return collections.Counter(
        word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))


def single_characters(words, limit):
    counts, inside = collections.Counter(), set()
    for word, count in words.items():
        for i, c in enumerate(word):
            counts[c] += count
            if i:
                inside.add(c)
    kept = [c for c, _ in counts.most_common(limit)]
    if limit and len(counts) > limit:
        assert counts.most_common(limit)[-1][1] > counts.most_common(limit + 1)[-1][1], "a tie at the limit"
    return sorted(kept) + ["##" + c for c in sorted(kept) if c in inside]


def learn(texts, settings, n_tokens, least_count, limit):
    singles = single_characters(words_of(texts, settings), limit)
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(**settings)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    options = {"limit_alphabet": limit} if limit else {}
    trainer = WordPieceTrainer(vocab_size=n_tokens, min_frequency=least_count, special_tokens=SPECIAL + singles,
                               show_progress=False, **options)
    tokenizer.train_from_iterator(texts, trainer)
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    assert [i for _, i in vocabulary] == list(range(len(vocabulary)))
    tokens = [token for token, _ in vocabulary]
    assert all(len(t.removeprefix("##")) > 1 for t in tokens[5 + len(singles):])
    return tokens


def tokenizer_of(tokens, settings):
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(**settings)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def settings_of(lowercase=True, strip_accents=None, chinese=True):
    return {"clean_text": True, "handle_chinese_chars": chinese,
            "strip_accents": lowercase if strip_accents is None else strip_accents, "lowercase": lowercase}


def random_texts(letters, n):
    words = ["".join(random.choice(letters) for _ in range(random.randint(1, 9))) for _ in range(n)]
    return [" ".join(random.choice(words) for _ in range(4 * n))]


def golden(settings):
    """Texts of golden/minilm.jsonl by line, but those with a word of over 100 characters, which mneme does not learn."""
    with open(os.path.join(data, "golden", "minilm.jsonl"), encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    return {i: text for i, text in enumerate(texts) if max(map(len, words_of([text], settings)), default=0) <= 100}


CASES = [
    # texts (None: those of golden/minilm.jsonl), settings, n_tokens, least_count, limit
    (ENGLISH, settings_of(), 120, 0, None),
    (ENGLISH, settings_of(), 5000, 0, None),
    (ENGLISH, settings_of(lowercase=False), 200, 2, None),
    (ENGLISH + SCRIPTS, settings_of(), 700, 2, None),
    (SCRIPTS, settings_of(lowercase=False), 600, 0, None),
    (SCRIPTS, settings_of(lowercase=True, strip_accents=False, chinese=False), 500, 2, None),
    (ENGLISH, settings_of(), 150, 0, 10),
    (random_texts("ab", 40), settings_of(), 400, 0, None),
    (random_texts("abc", 60), settings_of(), 250, 3, None),
    (random_texts("abcdeé", 80), settings_of(strip_accents=False), 300, 0, None),
    (None, settings_of(), 2000, 2, None),
    (None, settings_of(lowercase=False), 1500, 0, None),
]
ASKED = ENGLISH[:2] + SCRIPTS + ["aaab bananananas [CLS] fluttering? [UNK]x ☃ hypersonically", "x" * 101, "x" * 100, " "]


def main():
    with open(os.path.join(data, "train", "wordpiece_cases.jsonl"), "w", encoding="utf-8") as file:
        for texts, settings, n_tokens, least_count, limit in CASES:
            lines = None if texts else golden(settings)
            tokens = learn(texts or list(lines.values()), settings, n_tokens, least_count, limit)
            case = {"settings": settings, "n_tokens": n_tokens, "least_count": least_count, "limit": limit or 0,
                    "vocabulary": tokens}
            if texts:
                case["texts"] = texts
            else:
                case["golden"] = list(lines)
            if least_count == 2 and not limit:  # what the training of encoders asks for
                tokenizer = tokenizer_of(tokens, settings)
                case["tokenizer"] = json.loads(tokenizer.to_str())
                del case["tokenizer"]["model"]["vocab"]
                case["ids"] = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids}
                               for text in ASKED]
            file.write(json.dumps(case, ensure_ascii=False) + "\n")


main()
