"""What a tokenizer turns each character into before it looks for words: the table of the tokenizer in the graph."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Written where a character vanishes: the table cannot hold an empty value, and the operator that splits words drops it.
_NOTHING = "\u200b"
# Where a character may change: without surrogates, which are no characters, those for private use, which are many (see
# ``drops_private_use``), and the ideographs and the unassigned above, none of which change.
_CODES = (range(1, 0xD800), range(0xF900, 0x20000), range(0x2F800, 0x2FA20), range(0xE0000, 0xE0200))
_AT_ONCE = 4096
# BERT's CJK characters; the operator splits these off itself.
_CJK = (
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740)),
    *(range(0x2B740, 0x2B820), range(0x2B820, 0x2CEB0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
)
# They cannot stand in a table of lines; the operator treats them as spaces, as BERT does.
_LINES = frozenset("\t\n\r")


def character_table(tokenizer: "Tokenizer") -> dict[str, str]:
    """Characters and their replacements: lower-cased, without accents, with spaces around what is split off.

    The entries are the tokenizer's own output, so they follow all its options. Characters that do not change have none.
    """
    table: dict[str, str] = {}
    for codes in _CODES:
        for start in codes[::_AT_ONCE]:
            characters = [chr(code) for code in range(start, min(start + _AT_ONCE, codes.stop))]
            table.update(zip(characters, treated(tokenizer, characters), strict=True))
    return {
        character: replacement or _NOTHING
        for character, replacement in table.items()
        if replacement != character and character not in _LINES and not _is_split_off(character, replacement)
    }


def drops_private_use(tokenizer: "Tokenizer") -> bool:
    """Whether characters for private use vanish, as in BERT; bullets from a word processor are such characters."""
    return next(iter(treated(tokenizer, ["\ue000"]))) == ""


def treated(tokenizer: "Tokenizer", characters: list[str]) -> Iterator[str]:
    """Each character as the tokenizer changes it between two letters, with a space wherever it splits words."""
    text = " ".join(f"x{character}q" for character in characters)
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    words = " ".join(word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text))
    return iter(words[1:-1].split("q x"))


def _is_split_off(character: str, replacement: str) -> bool:
    return replacement == f" {character} " and any(ord(character) in block for block in _CJK)
