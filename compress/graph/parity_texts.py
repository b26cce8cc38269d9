"""Real texts to hold two models against each other: of every length, and with what tokenizers stumble over."""

from compress.runtime.encoding import Encoding, Text, TextEncoder

# Public domain prose, and short messages made up for this list.
_TEXTS = (
    "no",
    "",
    "A stirring, funny and finally transporting film.",
    "my card hasn't arrived yet, it's been 2 weeks!!!",
    "$12.50 was taken TWICE on 03/11 - see https://example.com/a?b=c&d=1 (ref. #A-77/b)",
    "Ünïcödé naïveté, 東京の天気, погода в Москве, مرحبا, 🙂👍🏽",
    "pneumonoultramicroscopicsilicovolcanoconiosis " * 2,
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife.",
    "However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth "
    "is so well fixed in the minds of the surrounding families, that he is considered as the rightful property of some "
    "one or other of their daughters.",
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and "
    "nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the "
    "world. It is a way I have of driving off the spleen, and regulating the circulation.",
)


def real_encodings(encoder: TextEncoder, *, pairs: bool) -> list[Encoding]:
    """The list's texts (each with its neighbour, for ``pairs``), and one that is longer than the model takes."""
    longest = " ".join(_TEXTS) * (encoder.max_length // 100 + 1)
    texts = [*_TEXTS, longest]
    chosen: list[Text] = list(zip(texts, [*texts[1:], texts[0]], strict=True)) if pairs else [*texts]
    return encoder(chosen)
