#!/usr/bin/env python3
"""Write cases.jsonl, cased/ and settings.jsonl: texts with the ids that the `tokenizers` package gives them (special tokens left out).

    python3 make_cases.py MODEL_FOLDER

MODEL_FOLDER is that of all-MiniLM-L6-v2. The cased vocabulary is a small one made here."""
import json
import os
import random
import sys

from tokenizers import Tokenizer

here = os.path.dirname(os.path.abspath(__file__))
random.seed(7)

SCRIPTS = {
    "latin": "Zażółć gęślą jaźń. Größe, naïve façade; œuvre ÆØÅ ŁÓDŹ ǅ ﬃ Ǆ",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα σας βδελυγμία. ΟΔΥΣΣΕΥΣ ς Σ ΐ ΰ",
    "cyrillic": "Съешь ещё этих мягких французских булок, да выпей чаю. Ёлка Йод",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر ومغلف بجلد أزرق ٠١٢٣",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה שָׁלוֹם",
    "devanagari": "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले १२३।",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "chinese": "視野無限廣，窗外有藍天。㐀䶵𠀀𪛖豈 漢字混じりtext",
    "japanese": "いろはにほへと ちりぬるを。ｶﾀｶﾅ ガギグゲゴ ㍿ ー〜",
    "korean": "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ᄀᄁ 가각",
    "bengali": "আমি কাঁচ খেতে পারি, তাতে আমার কোনো ক্ষতি হয় না।",
    "tamil": "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் இனிதாவது எங்கும் காணோம்",
    "georgian": "გთხოვთ ახლავე გაიაროთ რეგისტრაცია ႠႡ Ა",
    "symbols": "½ ² ™ ① ∑ ≠ → ♥ € £ ¥ © ® ° ± × ÷ … – — ‘’ “” «» ‹› ¿¡ § ¶ † ‡ • ‰ ′ ″",
    "emoji": "🙂🚀👨‍👩‍👧🏽🇩🇪❤️ 1️⃣",
    "spaces": "a\u00a0b\u2003c\u3000d\u200be\ufefff\u2028g\u0085h\u000bi\u000cj\u180ek\u00adl",
    "controls": "a\x00b\x01c\x7fd\x80e\x9ff\ufffdg\ue000h\ufffei\u0378j",
    "special": "[CLS] x[SEP]y [MASK][PAD] [UNK] [cls] [SEP [CLS",
    "marks": "e\u0301 a\u0308\u0323 q\u0307\u0323 \u0301x \u1fef\u037e\u0387 İIıi",
    "punctuation": "a.b,c!d?e:f;g'h\"i(j)k[l]m{n}o<p>q/r\\s|t@u#v$w%x^y&z*_+-=~`",
    "later": "\u166d\u1734\u061d\u08ca\u1ac5\u2e52\U000111c9\U00013430\U00011938 \u0890x",
    "long": "x" * 100 + " " + "y" * 101 + " " + "é" * 100 + " " + "한" * 40,
}


def random_text(kind):
    if kind == 0:
        return bytes(random.randrange(256) for _ in range(60)).decode("utf-8", "replace")
    if kind == 1:
        return "".join(chr(random.choice([random.randrange(0x20, 0x250), random.randrange(0x370, 0x600)])) for _ in range(40))
    if kind == 2:
        points = [random.randrange(0x110000) for _ in range(40)]
        return "".join(chr(c) for c in points if not 0xD800 <= c < 0xE000)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ 0123456789.,'-"
    return "".join(random.choice(letters) for _ in range(120))


def write(tokenizer, path, texts):
    with open(path, "w", encoding="utf-8") as out:
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            out.write(json.dumps({"text": text, "ids": ids}, ensure_ascii=True) + "\n")


def main():
    tokenizer = Tokenizer.from_file(os.path.join(sys.argv[1], "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    texts = list(SCRIPTS.values()) + [" ".join(SCRIPTS.values())] + [random_text(i % 4) for i in range(200)]
    write(tokenizer, os.path.join(here, "cases.jsonl"), texts)
    folder = os.path.join(here, "cased")
    os.makedirs(folder, exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "quick", "Brown", "##n", "fox", "é", "##é", "caf", "É",
             "##s", "##S", "!", ".", "-", "a", "A", "##a", "##A", "Z", "世", "界", "İ", "##ing", "Quick"]
    with open(os.path.join(folder, "vocab.txt"), "w", encoding="utf-8") as out:
        out.write("\n".join(vocab) + "\n")
    spec = {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": t == "[MASK]", "rstrip": False,
                              "normalized": False, "special": True} for i, t in enumerate(vocab[:5])],
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                           "strip_accents": None, "lowercase": False},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 20, "vocab": {t: i for i, t in enumerate(vocab)}}}
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as out:
        json.dump(spec, out, ensure_ascii=False)
    cased = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    write(cased, os.path.join(folder, "cases.jsonl"),
          ["The quick Brown fox!", "the Quick brown fOx", "café CAFÉ cafe\u0301 cafés", "世界の", "aAaA AaAa", "İİ i",
           "Quicking The-The.", "a  [MASK]a [CLS]The", "A" * 20 + " " + "a" * 21, "", "ÉÉ"])
    write_settings()


def write_settings():
    """One line for each tokenizer.json that differs in a setting: {"tokenizer", "cases": [{"text", "ids"}]}."""
    plain = ["[UNK]", "[CLS]", "[SEP]", "a", "b", "##a", "##b", "\x01", "##\x01", "é", "##é", "e", "##e", "中", "##中", "\x7f"]
    prefixed = ["[UNK]", "[CLS]", "[SEP]", "ab", "a", "b", "xb", "x", "xx", "##b", "c", "xab"]
    settings = [("##", plain, {"clean_text": False}, []), ("##", plain, {"handle_chinese_chars": False}, []),
                ("##", plain, {"strip_accents": False}, []), ("##", plain, {"strip_accents": True, "lowercase": False}, []),
                ("##", plain, {"clean_text": False, "strip_accents": False, "lowercase": False}, []),
                ("", prefixed, {}, []), ("x", prefixed, {}, []), ("#", prefixed, {}, []),
                ("##", plain, {}, ["ba", "Ab", "b"])]  # b is in the vocabulary: its id there counts
    texts = ["a\x01b \x01 A", "a中b 中中", "é aé Éa E\u0301", "a\u00adb \x7f a\x0bb a\u2028b \ufffda\x00",
             "ab abb xb xab aab abab xxb abxb c", "bxx abc", "xxxx ab", "##b", "abAbba Ba aba"]
    with open(os.path.join(here, "settings.jsonl"), "w", encoding="utf-8") as out:
        for prefix, vocab, normalizer, added in settings:
            added = vocab[:3] + added
            spec = {"version": "1.0", "truncation": None, "padding": None,
                    "added_tokens": [{"id": i if i < 3 else 13 + i, "content": t, "single_word": False, "lstrip": False,
                                      "rstrip": False, "normalized": False, "special": True} for i, t in enumerate(added)],
                    "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                   "strip_accents": None, "lowercase": True, **normalizer},
                    "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None, "decoder": None,
                    "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
                              "max_input_chars_per_word": 100, "vocab": {t: i for i, t in enumerate(vocab)}}}
            tokenizer = Tokenizer.from_str(json.dumps(spec))
            cases = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False).ids} for t in texts]
            out.write(json.dumps({"tokenizer": spec, "cases": cases}) + "\n")


main()
