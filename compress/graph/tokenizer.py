"""A BERT tokenizer as nodes of a graph: one text or pair of texts in, token ids out, cut as ``tokenizers`` cuts.

The words are split by the ``BertTokenizer`` operator of onnxruntime-extensions. A table before it handles lower case,
accents and the punctuation of all scripts, because the operator knows Western European letters only.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer

from compress.errors import CompressError
from compress.families.tokenizers.vocabulary import vocabulary_lines
from compress.formatting import some
from compress.graph.writer import GraphWriter
from compress.runtime.encoding import side_of

DOMAIN = "ai.onnx.contrib"
_PIECE = "([^a-z0-9 ])"  # what the table may change; BERT keeps a-z, 0-9 and the space with any options
# Stands for characters that vanish: the table cannot hold an empty value, and the operator that splits words drops it.
_NOTHING = "\u200b"
# The codes of characters that may change: without surrogates, which are no characters, those for private use, which are
# many (see ``_pieces``), and the ideographs and unassigned codes above, none of which change.
_CODES = (range(1, 0xD800), range(0xF900, 0x20000), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200))
_AT_ONCE = 4096
# BERT's CJK characters; the operator splits these off itself.
_CJK = (
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740)),
    *(range(0x2B740, 0x2B820), range(0x2B820, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
)
_BERTS_OWN = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Characters that cannot stand in a table of lines; the operator treats them as spaces, as BERT does.
_LINES = frozenset("\t\n\r")


class Tokens(NamedTuple):
    """The names of a text's three values, int64 ``[tokens]`` each."""

    ids: str
    mask: str
    types: str


def write_tokens(graph: GraphWriter, tokenizer: Tokenizer, text: str, max_length: int) -> Tokens:
    """The tokens of the value ``text``, one string ``[1]``: at most ``max_length``, special tokens included."""
    pieces, _ = _pieces(graph, tokenizer, text)
    right = side_of(tokenizer) == "right"  # the only side that the operator knows
    ids, types, mask = _split_words(graph, tokenizer, _join(graph, pieces, "joined"), max_length if right else -1)
    return Tokens(ids, mask, types) if right else _cut_beginning(graph, Tokens(ids, mask, types), max_length)


def write_pair_tokens(graph: GraphWriter, tokenizer: Tokenizer, texts: str, max_length: int) -> Tokens:
    """The tokens of the value ``texts``, two strings ``[2]``; the longer text is cut first."""
    pieces, rows = _pieces(graph, tokenizer, texts)
    zero, border, end = graph.ops("Split", rows, name="bounds", outputs=3, num_outputs=3)
    parts = {"first": (zero, border), "second": (border, end)}
    joined = [
        _join(graph, graph.op("Slice", pieces, *bounds, name=f"{part}.pieces"), f"{part}.joined")
        for part, bounds in parts.items()
    ]
    both = graph.op("Concat", *joined, name="both", axis=0)
    ids, types, mask = _split_words(graph, tokenizer, both, max_length=-1)  # the operator would ignore a limit
    return _cut_pair(graph, Tokens(ids, mask, types), max_length, side_of(tokenizer))


def _pieces(graph: GraphWriter, tokenizer: Tokenizer, texts: str) -> tuple[str, str]:
    """Runs of plain letters, replacements of all other characters, and where the pieces of each text begin and end."""
    _require_berts(tokenizer)
    if next(treated(tokenizer, ["\ue000"])) == "":  # private use, such as a word processor's bullets, vanishes in BERT
        private, nothing = _string(graph, r"\p{Co}"), _string(graph, "")
        texts = text_op(graph, "StringRegexReplace", texts, private, nothing, name="kept")
    piece = _string(graph, _PIECE)
    pieces, _, _, rows = graph.ops(
        "StringRegexSplitWithOffsets", texts, piece, piece, name="pieces", outputs=4, domain=DOMAIN
    )
    table = "\n".join(f"{character}\t{replacement}" for character, replacement in character_table(tokenizer).items())
    return text_op(graph, "StringMapping", pieces, name="treated", map=table), rows


def _join(graph: GraphWriter, pieces: str, name: str) -> str:
    return text_op(graph, "StringJoin", pieces, _string(graph, ""), graph.constant("zero.1", [0]), name=name)


def _split_words(graph: GraphWriter, tokenizer: Tokenizer, texts: str, max_length: int) -> list[str]:
    vocabulary = "\n".join(vocabulary_lines(tokenizer) or ())
    chinese = int(next(treated(tokenizer, ["中"])) == " 中 ")  # whether they are split off
    options = {"do_lower_case": 0, "strip_accents": 0, "tokenize_chinese_chars": chinese, "max_length": max_length}
    return graph.ops("BertTokenizer", texts, name="tokens", outputs=3, domain=DOMAIN, vocab_file=vocabulary, **options)


def _cut_beginning(graph: GraphWriter, tokens: Tokens, max_length: int) -> Tokens:
    """``[CLS]`` and the last ``max_length - 1`` tokens of ``[CLS] text [SEP]``."""
    zero, one = graph.constant("zero.1", [0]), graph.constant("one.1", [1])
    start, end = graph.constant("last.start", [1 - max_length]), graph.constant("last.end", [np.iinfo(np.int64).max])

    def cut(value: str) -> str:
        first = graph.op("Slice", value, zero, one, name=f"{value}.first")
        rest = graph.op("Slice", value, one, end, name=f"{value}.rest")
        last = graph.op("Slice", rest, start, end, name=f"{value}.last")
        return graph.op("Concat", first, last, name=f"{value}.cut", axis=0)

    return Tokens(*map(cut, tokens))


def _cut_pair(graph: GraphWriter, tokens: Tokens, max_length: int, side: str) -> Tokens:
    """``[CLS] first [SEP] second [SEP]``, each cut to its share."""
    one, three = graph.constant("one.1", [1]), graph.constant("three.1", [3])
    length = graph.op("Shape", tokens.ids, name="pair.length")
    tail = graph.op("ReduceSum", tokens.types, name="pair.tail")  # the second text and its [SEP]
    second = graph.op("Sub", tail, one, name="pair.second")
    first = graph.op("Sub", graph.op("Sub", length, three, name="pair.words"), second, name="pair.first")
    keep_first, keep_second = split_room(graph, first, second, max_length - 3)

    position = graph.op("CumSum", tokens.mask, graph.constant("zero.1", [0]), name="pair.position", exclusive=1)
    separator = graph.op("Add", first, one, name="pair.separator")
    end = graph.op("Sub", length, one, name="pair.end")
    # Three runs of positions are kept, each from one number to another.
    if side == "right":
        zero, to_second = graph.constant("zero.1", [0]), graph.op("Add", separator, keep_second, name="pair.to_second")
        runs = {"first": (zero, keep_first), "second": (separator, to_second), "last": (end, end)}
    else:
        zero, from_first = graph.constant("zero.1", [0]), graph.op("Sub", separator, keep_first, name="pair.from_first")
        from_second = graph.op("Sub", end, keep_second, name="pair.from_second")
        runs = {"start": (zero, zero), "first": (from_first, separator), "second": (from_second, end)}
    inside = [
        graph.op(
            "And",
            graph.op("GreaterOrEqual", position, start, name=f"pair.{name}.past"),
            graph.op("LessOrEqual", position, stop, name=f"pair.{name}.until"),
            name=f"pair.{name}.inside",
        )
        for name, (start, stop) in runs.items()
    ]
    kept = graph.op("Or", graph.op("Or", *inside[:2], name="pair.in_two"), inside[2], name="pair.kept")
    return Tokens(*(graph.op("Compress", value, kept, name=f"{value}.cut", axis=0) for value in tokens))


def split_room(graph: GraphWriter, first: str, second: str, room: int) -> tuple[str, str]:
    """How many tokens each of two texts keeps in ``room``: the shorter one up to half of it, the longer the rest."""
    whole, half = graph.constant("room", [room]), graph.constant("half", [room // 2])
    beside_second = graph.op("Sub", whole, graph.op("Min", second, half, name="pair.second.half"), name="pair.beside")
    keep_first = graph.op(
        "Where",
        graph.op("Greater", first, second, name="pair.first.is_longer"),
        beside_second,
        graph.op("Min", first, half, name="pair.first.half"),
        name="pair.first.keep",
    )
    return keep_first, graph.op("Sub", whole, keep_first, name="pair.second.keep")


def text_op(graph: GraphWriter, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
    """Add an operator of onnxruntime-extensions, as :meth:`GraphWriter.op` adds a stock one."""
    return graph.op(kind, *inputs, name=name, domain=DOMAIN, **attributes)


def _string(graph: GraphWriter, value: str) -> str:
    return graph.constant(f"string {value}", np.array([value], dtype=object))


def _require_berts(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that the operator would imitate wrongly, in silence."""
    lines, model = vocabulary_lines(tokenizer), tokenizer.model
    text, pair = tokenizer.encode(""), tokenizer.encode("", "")
    if not (
        isinstance(model, WordPiece)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.normalizer, BertNormalizer | Lowercase | None)  # others may look at neighbours
        and lines == "\n".join(lines or ()).split()
        and (model.unk_token, model.continuing_subword_prefix, model.max_input_chars_per_word) == ("[UNK]", "##", 100)
        and (text.tokens, pair.tokens) == (["[CLS]", "[SEP]"], ["[CLS]", "[SEP]", "[SEP]"])
        and pair.type_ids == [0, 0, 1]
    ):
        raise CompressError(
            f"export --single-file: the tokenizer ({type(model).__name__}) is neither a BERT's (WordPiece, texts "
            "normalized and split as BERT's, [CLS] and [SEP] around them) nor RoBERTa's, which the operators for "
            "graphs can run; leave --single-file out"
        )
    added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    if own := [token for token in added if token not in _BERTS_OWN]:
        raise CompressError(
            f"export --single-file: the tokenizer has added tokens ({some(own)}), which the operators for graphs would "
            "split; leave --single-file out"
        )


def character_table(tokenizer: Tokenizer) -> dict[str, str]:
    """Characters and their replacements: lower-cased, without accents, with spaces around what is split off.

    The entries are the tokenizer's own output, so they follow all its options. Characters that do not change have none.
    """
    table = dict[str, str]()
    for codes in _CODES:
        for start in codes[::_AT_ONCE]:
            characters = [chr(code) for code in range(start, min(start + _AT_ONCE, codes.stop))]
            table.update(zip(characters, treated(tokenizer, characters), strict=True))
    return {
        character: replacement or _NOTHING
        for character, replacement in table.items()
        if replacement != character and character not in _LINES and not _is_split_off(character, replacement)
    }


def treated(tokenizer: Tokenizer, characters: list[str]) -> Iterator[str]:
    """Each character as the tokenizer changes it between two letters, with a space wherever it splits words."""
    text = " ".join(f"x{character}q" for character in characters)
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    words = " ".join(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return iter(words[1:-1].split("q x"))


def _is_split_off(character: str, replacement: str) -> bool:
    return replacement == f" {character} " and any(ord(character) in block for block in _CJK)
