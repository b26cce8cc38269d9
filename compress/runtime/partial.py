"""Tokenizing only as much of a long text as its first (or last) ``max_length`` tokens need."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from compress.runtime.boundaries import Boundaries

if TYPE_CHECKING:
    import tokenizers

# A text or the two of a pair, whole or in part.
Sides = tuple[str, ...]
Read = tuple[Sides, "tokenizers.Encoding"]

# A token stands for 4 to 5 characters of prose, so this is seldom too little.
_CHARACTERS_A_TOKEN = 6


class PartialTokenizer:
    """A tokenizer that cuts at ``max_length`` tokens, given parts of texts that have the whole texts' tokens.

    A part ends where the tokenizer splits anyway; it is read again, twice as long, until it has enough tokens. With
    ``whole``, nothing is cut off.
    """

    def __init__(
        self, tokenizer: "tokenizers.Tokenizer", max_length: int, *, keeps_start: bool, whole: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._boundaries = None if whole else Boundaries.of(tokenizer, keeps_start=keeps_start)

    def read(self, texts: Sequence[Sides]) -> list[Read]:
        """For each text or pair the parts that were read, and the encoding, which is that of the whole."""
        found = self._encode([self.first_parts(text) for text in texts])
        rows = range(len(texts))
        while rows := [row for row in rows if any(self._lacking(texts[row], *found[row]))]:  # type: ignore[assignment]
            longer = [self._longer(texts[row], *found[row]) for row in rows]
            for row, read in zip(rows, self._encode(longer), strict=True):
                found[row] = read
        return found

    def first_parts(self, text: Sides) -> Sides:
        """What is read at first; all of a text that is short or cannot be cut."""
        return tuple(self._part(side, self._max_length * _CHARACTERS_A_TOKEN) for side in text)

    def _encode(self, parts: list[Sides]) -> list[Read]:
        found = self._tokenizer.encode_batch_fast([part if len(part) == 2 else part[0] for part in parts])
        return list(zip(parts, found, strict=True))

    def _part(self, text: str, characters: int) -> str:
        return text if self._boundaries is None else self._boundaries.part(text, characters)

    def _longer(self, text: Sides, part: Sides, encoding: "tokenizers.Encoding") -> Sides:
        """The parts to read next: those that lack tokens twice as long."""
        lacking = self._lacking(text, part, encoding)
        return tuple(
            self._part(whole, 2 * len(read)) if lacks else read
            for whole, read, lacks in zip(text, part, lacking, strict=True)
        )

    def _lacking(self, text: Sides, part: Sides, encoding: "tokenizers.Encoding") -> Iterable[bool]:
        """Of each side, whether more of it would change the tokens."""
        cut = [len(read) < len(whole) for read, whole in zip(part, text, strict=True)]
        if not any(cut):
            return cut
        if len(encoding.ids) < self._max_length:
            return cut
        if len(text) == 1:
            return (False,)
        return (cut[0] and self._loses(0, text, cut, encoding), cut[1] and self._loses(1, text, cut, encoding))

    def _loses(self, side: int, text: Sides, cut: list[bool], encoding: "tokenizers.Encoding") -> bool:
        """Whether this side, which was cut, might keep more tokens if all of it was read.

        The side with more tokens loses them first, until both are equal; of two long sides, the longer one has one more
        where their number is odd, the second if they are equally long.
        """
        own, other = (encoding.sequence_ids.count(number) for number in (side, 1 - side))
        if own + 1 < other or not cut[1 - side]:
            return own < other
        if own >= other:
            return False
        counts = [self._count(each) for each in text]
        return counts[0] > counts[1] if side == 0 else counts[0] <= counts[1]

    def _count(self, text: str) -> int:
        """Tokens of all of ``text``."""
        first = self._tokenizer.encode_batch_fast([text])[0]
        special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        return sum(len(each.ids) - special for each in (first, *first.overflowing))
