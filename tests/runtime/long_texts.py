"""Long texts of all kinds, and tokenizers of all kinds, for what must not change when less of a text is read."""

import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from compress.runtime.partial import PartialTokenizer, Sides

_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_ADDED = [
    AddedToken("New York", normalized=True),
    AddedToken("good", single_word=True, normalized=False),
    AddedToken("-x", single_word=True, normalized=True),
    AddedToken("<n>", lstrip=True, rstrip=True, normalized=False),
    AddedToken("the", rstrip=True, normalized=True),
    AddedToken("  ", normalized=False),
    AddedToken("京都", normalized=False),
    AddedToken("é b", normalized=True),
]
_SQUEEZED = normalizers.Replace(Regex(" {2,}"), " ")

# Name: the model, the normalizer, the pre-tokenizer, and whether texts may be cut.
KINDS: dict[str, tuple[type, normalizers.Normalizer | None, pre_tokenizers.PreTokenizer, bool]] = {
    "bert": (models.WordPiece, normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(), True),
    "bert cased": (
        models.WordPiece,
        normalizers.BertNormalizer(lowercase=False, strip_accents=False, handle_chinese_chars=False),
        pre_tokenizers.BertPreTokenizer(),
        True,
    ),
    "accents": (
        models.WordPiece,
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]),
        pre_tokenizers.Whitespace(),
        True,
    ),
    "roberta": (models.BPE, None, pre_tokenizers.ByteLevel(add_prefix_space=False), True),
    "prefix": (models.BPE, normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=True), True),
    "digits": (
        models.BPE,
        normalizers.Sequence([normalizers.NFD(), normalizers.Strip()]),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]),
        True,
    ),
    "xlm": (
        models.Unigram,
        normalizers.Sequence([normalizers.NFKC(), normalizers.Nmt(), _SQUEEZED]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        True,
    ),
    "albert": (
        models.Unigram,
        normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Lowercase(), normalizers.Prepend("▁")]),
        pre_tokenizers.Metaspace(prepend_scheme="first"),
        True,
    ),
    "no words": (models.Unigram, normalizers.NFKC(), pre_tokenizers.Metaspace(split=False), True),
    "unknown": (models.BPE, normalizers.Replace(Regex("d f"), "df"), pre_tokenizers.ByteLevel(False), False),
}
_TRAINERS: dict[type, Callable[..., Any]] = {
    models.WordPiece: trainers.WordPieceTrainer,
    models.BPE: trainers.BpeTrainer,
    models.Unigram: trainers.UnigramTrainer,
}


def make_tokenizer(kind: str, texts: Sequence[str], size: int = 600, *, added: bool = True) -> Tokenizer:
    """One of ``KINDS``, trained on ``texts``, with BERT's special tokens around each text."""
    model, normalizer, pre_tokenizer, _ = KINDS[kind]
    tokenizer = Tokenizer(models.Unigram() if model is models.Unigram else model(unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    unknown = {"unk_token": "[UNK]"} if model is models.Unigram else {}
    tokenizer.train_from_iterator(
        texts, _TRAINERS[model](vocab_size=size, special_tokens=_SPECIALS, show_progress=False, **unknown)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    if added:
        tokenizer.add_tokens(_ADDED)
        tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True)])
    return tokenizer


_BLANKS = [*" \t\n\r\f\v\u00a0\u1680\u2003\u200b\u2028\u3000\u0085\ufeff", "  ", " \n ", "\u00ad"]
_MARKS = [*"\u0301\u0308\u0338\u20dd\u0345\u1ab0\u3099\ufe0f\u200d\u093c\u0e33\u1160\u11a8"]
_GROWING = [*"\u0130\u1e9e\u00df\ufb01\u0149\u01c4\u1fb3\u03a3\u03c2\ufdfa\u2160\u00bd\u037a\u1d2c"]
_PIECES = [
    *(
        "New York",
        "new\nyork",
        "New\u00a0York",
        "good",
        "goodness",
        "-x",
        "a-x b",
        "<n>",
        " <n> ",
        "the",
        "[MASK]",
        "[SEP]",
    ),
    *(
        "京都",
        "京",
        "都",
        "é b",
        "e\u0301 b",
        "``",
        "''",
        "it's",
        "we're",
        "d f",
        "df",
        "▁",
        "Ġ",
        "\x00",
        "\x1b",
        "\ufffd",
    ),
]
_SCRIPTS = [
    *((0x41, 0x7B), (0xC0, 0x250), (0x386, 0x3CF), (0x400, 0x530), (0x531, 0x588), (0x5D0, 0x5EB), (0x600, 0x650)),
    *((0x900, 0x970), (0xE01, 0xE5C), (0x10D0, 0x10FB), (0x1100, 0x1200), (0x1E00, 0x2000), (0x3041, 0x3100)),
    *((0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xFF01, 0xFFE0), (0x1F300, 0x1F650), (0x1D400, 0x1D500), (0x20000, 0x20100)),
]


def long_texts(seed: int, words: Sequence[str]) -> Iterator[str]:
    """Endless texts of up to a few hundred characters: real words, all scripts, blanks, marks, added tokens."""
    rng = random.Random(seed)
    while True:
        choices: list[Sequence[str]] = [[f"{word} " for word in rng.choices(words, k=20)]] * rng.choice((1, 6, 40))
        choices += rng.sample((_BLANKS, _MARKS, _GROWING, _PIECES), rng.randint(0, 4))
        script = [chr(code) for code in range(*rng.choice(_SCRIPTS))]
        choices += [["".join(rng.choices(script, k=rng.randint(1, 6))) for _ in range(9)]] * rng.randint(0, 3)
        choices += [('!"#', "...", "=-", "1,234.5", "a@b.c", "http://x.y/z?q=1", "_", "x" * 130)]
        choices += [(" ", " ", "", "\n")] * rng.randint(0, 6)
        text = "".join(rng.choice(rng.choice(choices)) for _ in range(rng.choice((0, 3, 30, 120))))
        yield rng.choice((text, text, text, text.upper(), text.replace(" ", ""), " " * 300 + text, text + "\n" * 200))


def long_pairs(seed: int, words: Sequence[str]) -> Iterator[Sides]:
    """Pairs of such texts, of the same length or not."""
    rng, texts = random.Random(seed), long_texts(seed, words)
    while True:
        first = next(texts)
        yield first, rng.choice((next(texts), first, next(texts)[:20]))


def parts_and_differences(
    tokenizer: Tokenizer, texts: Sequence[Sides], max_length: int, side: str
) -> tuple[list[Sides], list[Sides]]:
    """The part that was read of each text, and the texts whose tokens are not those of the whole text."""
    tokenizer = deepcopy(tokenizer)
    tokenizer.enable_truncation(max_length, direction=side)
    read = PartialTokenizer(tokenizer, max_length, keeps_start=side == "right").read(texts)
    different = []
    for text, (_, found) in zip(texts, read, strict=True):
        expected = tokenizer.encode(text[0], text[1] if len(text) == 2 else None)
        if (found.ids, found.type_ids) != (expected.ids, expected.type_ids):
            different.append(text)
    return [part for part, _ in read], different
