"""Where a text may be cut so that the tokens on either side stay what they are in the whole text.

A safe place lies before a single ASCII separator, with two plain letters or digits before it and two behind it:
``film| was``. There no normal form composes characters, no case or accent depends on the other side, no grapheme spans
the cut, and every added token, normalizer and pre-tokenizer that is known here does on either side what it does in the
whole text; whether the pre-tokenizer splits there is tried out. BERT's tokenizer also splits between any two
ideographs. A tokenizer with a part that is not known here has no safe places.
"""

import json
import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Letters and digits that are graphemes of their own and that no normal form joins with another of this list: Latin,
# Greek, Cyrillic, Armenian, Hebrew, Arabic, Devanagari, Georgian, kana, ideographs, Hangul.
_LETTER = "[0-9A-Za-zÀ-ÖØ-öø-ɏΆΈ-ΊΌΎ-ΡΣ-ώЀ-ҁҊ-ԯԱ-Ֆա-ֆא-תء-غف-يअ-हა-ჰぁ-ゖァ-ヺ一-鿿가-힣]"
_SEPARATORS = " \t\n\r!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~"
_SEPARATOR = f"[{re.escape(_SEPARATORS)}]"
_BEFORE_SEPARATOR = f"{_LETTER}{{2}}(?={_SEPARATOR}{_LETTER}{{2}})"
_FIRST_IDEOGRAPH, _LAST_IDEOGRAPH = "一", "鿿"
_IDEOGRAPH = f"[{_FIRST_IDEOGRAPH}-{_LAST_IDEOGRAPH}]"
_BETWEEN_IDEOGRAPHS = f"{_IDEOGRAPH}(?={_IDEOGRAPH})"
_BLANKS = " \t\n\r"

_MODELS = {"WordPiece", "WordLevel", "BPE", "Unigram"}  # each splits a word into tokens by the word alone
# Each of these changes a character by its grapheme alone, or only the ends of a text.
_NORMALIZERS = {
    *("BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled"),
    *("Strip", "Prepend"),
}
# Each of these decides whether to split at a place by the characters around it, no further than a word away.
_PRE_TOKENIZERS = {
    *("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "ByteLevel", "Metaspace", "Punctuation", "Digits"),
}
_BLANKS_ALONE = {" {2,}", r"\s+", r"\s{2,}", r"\s{2,}|[\n\r\t]", r"[\n\r\t]"}  # patterns that match blanks only


class Boundaries:
    """Where texts may be cut for one tokenizer, which reads them from their start or from their end."""

    def __init__(self, tokenizer: "Tokenizer", *, keeps_start: bool) -> None:
        self._tokenizer = tokenizer
        self._keeps_start = keeps_start
        self._added = _AddedTokens(tokenizer)
        self._safe: dict[str, bool] = {}
        self._ideographs = self._splits("中", "国") and not any(map(_is_ideograph, self._added.characters))

    @classmethod
    def of(cls, tokenizer: "Tokenizer", *, keeps_start: bool) -> "Boundaries | None":
        """The tokenizer's boundaries; None if it has a part that is not known here."""
        return cls(tokenizer, keeps_start=keeps_start) if _is_known(tokenizer) else None

    def part(self, text: str, characters: int) -> str:
        """The shortest start (or end) of ``text`` that reaches a safe place and has at least ``characters`` characters.

        It is searched for within twice as many characters, then twice as many again; without one, all of ``text``.
        """
        while characters < len(text):
            cut = self._first(text, characters) if self._keeps_start else self._last(text, characters)
            if cut is not None:
                return text[:cut] if self._keeps_start else text[cut:]
            characters *= 2
        return text

    def _first(self, text: str, characters: int) -> int | None:
        matches = _places(self._ideographs).finditer(text, max(0, characters - 2), 2 * characters)
        return next((match.end() for match in matches if self._is_safe(text, match.end())), None)

    def _last(self, text: str, characters: int) -> int | None:
        end = len(text) - characters
        matches = _places(self._ideographs).finditer(text, max(0, end - characters), end + 3)
        places = [match.end() for match in matches if match.end() <= end]
        return next((place for place in reversed(places) if self._is_safe(text, place)), None)

    def _is_safe(self, text: str, at: int) -> bool:
        if _is_ideograph(text[at]):
            return True
        around = text[at - 1 : at + 2]
        if around not in self._safe:
            self._safe[around] = self._splits(around[0], around[1:])
        return self._safe[around]

    def _splits(self, before: str, behind: str) -> bool:
        """Whether each side alone has the words that it has in the whole, and no added token lies across the cut."""
        left, whole = self._normalized(before), self._normalized(before + behind)
        words = self._words(before + behind)
        count = len(self._words(before))
        if not left or not whole.startswith(left) or words[:count] != self._words(before) or count == len(words):
            return False
        if not self._keeps_start and words[count:] != self._words(behind):
            return False
        edges = before + behind[0], whole[len(left) - 1 : len(left) + 1]
        return not any(map(self._added.may_join, edges))

    def _words(self, text: str) -> list[str]:
        pre_tokenizer: Any = self._tokenizer.pre_tokenizer
        return [word for word, _ in pre_tokenizer.pre_tokenize_str(self._normalized(text))]

    def _normalized(self, text: str) -> str:
        normalizer: Any = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))


@cache
def _places(ideographs: bool) -> re.Pattern[str]:
    """The pattern that ends where a text may be cut; made late, since compiling it takes as long as loading a graph."""
    return re.compile(f"{_BEFORE_SEPARATOR}|{_BETWEEN_IDEOGRAPHS}" if ideographs else _BEFORE_SEPARATOR)


def _is_ideograph(character: str) -> bool:
    return _FIRST_IDEOGRAPH <= character <= _LAST_IDEOGRAPH


class _AddedTokens:
    """The cuts that a tokenizer's added tokens forbid, which it looks for before it splits a text into words."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self.characters = ""
        self._joined: set[str] = set()  # pairs of characters that a token may lie across
        self._whole_words: set[str] = set()  # first characters of tokens that do not match behind a letter
        normalizer: Any = tokenizer.normalizer
        for token in tokenizer.get_added_tokens_decoder().values():
            for spelling in {token.content, normalizer.normalize_str(token.content) if normalizer else ""} - {""}:
                self.characters += spelling
                self._joined |= {left + right for left, right in pairwise(spelling)}
                if token.rstrip:  # the token also takes the blanks behind it
                    self._joined |= {spelling[-1] + blank for blank in _BLANKS}
                if token.single_word:
                    self._whole_words.add(spelling[0])

    def may_join(self, neighbours: str) -> bool:
        return neighbours in self._joined or neighbours[1:] in self._whole_words


def _is_known(tokenizer: "Tokenizer") -> bool:
    model: Any = tokenizer.model
    if type(model).__name__ not in _MODELS or getattr(model, "dropout", None):
        return False
    if tokenizer.pre_tokenizer is None:
        return False
    return all(map(_is_known_normalizer, _parts(tokenizer.normalizer, "normalizers"))) and all(
        part["type"] in _PRE_TOKENIZERS for part in _parts(tokenizer.pre_tokenizer, "pretokenizers")
    )


def _parts(component: Any, inner: str) -> list[dict[str, Any]]:
    """The settings of a normalizer or pre-tokenizer, or of all in a sequence of them."""
    if component is None:
        return []
    try:
        parts: list[dict[str, Any]] = [json.loads(component.__getstate__())]
    except Exception:  # noqa: BLE001 - a component written in Python has no settings
        return [{"type": "custom"}]
    while any(part["type"] == "Sequence" for part in parts):
        parts = [member for part in parts for member in (part[inner] if part["type"] == "Sequence" else [part])]
    return parts


def _is_known_normalizer(part: dict[str, Any]) -> bool:
    if part["type"] != "Replace":
        return part["type"] in _NORMALIZERS
    if "Regex" in part["pattern"]:
        return part["pattern"]["Regex"] in _BLANKS_ALONE
    pattern = part["pattern"]["String"]
    return not any(map(str.isalnum, pattern)) and (" " not in pattern or not pattern.strip(" "))
