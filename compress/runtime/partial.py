"""Tokenizing only as much of a long text as its first (or last) ``max_length`` tokens need."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from compress.runtime.boundaries import Boundaries

if TYPE_CHECKING:
    import tokenizers

# A text or the two texts of a pair, whole or in part.
Sides = tuple[str, ...]
Read = tuple[Sides, "tokenizers.Encoding"]

# A token stands for 4 to 5 characters of prose, so this is seldom too few.
_CHARACTERS_A_TOKEN = 6


class PartialTokenizer:
    """A tokenizer that truncates to ``max_length`` tokens, and is given only the parts of texts that these come from.

    A part ends where the tokenizer splits anyway; it is read again, twice as long, until it has enough tokens. With
    ``whole``, texts are read whole.
    """

    def __init__(
        self, tokenizer: "tokenizers.Tokenizer", max_length: int, *, keeps_start: bool, whole: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._boundaries = None if whole else Boundaries.of(tokenizer, keeps_start=keeps_start)

    def read(self, texts: Sequence[Sides]) -> list[Read]:
        """For each text or pair the parts that were read, and the encoding, which equals that of the whole text."""
        longer_side = cache(self._longer_side)
        read: dict[int, Read] = {}
        parts = {row: self._first_parts(text) for row, text in enumerate(texts)}
        while parts:
            read |= zip(parts, self._encode(list(parts.values())), strict=True)
            lacking = {row: self._lacking(texts[row], *read[row], longer_side) for row in parts}
            parts = {row: self._longer(texts[row], parts[row], sides) for row, sides in lacking.items() if any(sides)}
        return list(read.values())

    def _first_parts(self, text: Sides) -> Sides:
        """The parts to read first; the whole of a text that is short or cannot be cut."""
        return tuple(self._part(side, self._max_length * _CHARACTERS_A_TOKEN) for side in text)

    def _encode(self, parts: list[Sides]) -> list[Read]:
        encodings = self._tokenizer.encode_batch_fast([part if len(part) == 2 else part[0] for part in parts])
        return list(zip(parts, encodings, strict=True))

    def _part(self, text: str, characters: int) -> str:
        return text if self._boundaries is None else self._boundaries.part(text, characters)

    def _longer(self, text: Sides, part: Sides, lacking: Sequence[bool]) -> Sides:
        """The parts to read next: those that lack tokens, made twice as long."""
        return tuple(
            self._part(whole, 2 * len(read)) if lacks else read
            for whole, read, lacks in zip(text, part, lacking, strict=True)
        )

    def _lacking(
        self, text: Sides, part: Sides, encoding: "tokenizers.Encoding", longer_side: Callable[[Sides], int]
    ) -> list[bool]:
        """For each side, whether reading more of it would change the tokens.

        In a pair, the side with more tokens loses them first, until both have as many. If both lose some and the number
        left is odd, the longer side keeps one more.
        """
        cut = [len(read) < len(whole) for read, whole in zip(part, text, strict=True)]
        if len(encoding.ids) < self._max_length or not any(cut):
            return cut
        if len(text) == 1:
            return [False]
        kept = [encoding.sequence_ids.count(side) for side in (0, 1)]
        fewer = [cut[0] and kept[0] < kept[1], cut[1] and kept[1] < kept[0]]
        if all(cut) and abs(kept[0] - kept[1]) == 1:
            fewer[1 - longer_side(text)] = False
        return fewer

    def _longer_side(self, text: Sides) -> int:
        """The side of a pair with more tokens, 0 or 1, which is 1 where both have as many; reads both sides whole."""
        sides = self._tokenizer.encode_batch_fast(list(text), add_special_tokens=False)
        first, second = (sum(len(each.ids) for each in (side, *side.overflowing)) for side in sides)
        return 0 if first > second else 1
