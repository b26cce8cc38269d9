"""Texts to token ids and padded batches: one path for training, measuring and serving."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError
from compress.runtime.names import INPUTS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Text = str | tuple[str, str]
Feeds = dict[str, npt.NDArray[np.int64]]

# A token stands for about 4 characters of prose and WordPiece cannot make more than one word of 100 characters, so a
# text cut here keeps every token that truncation would keep in anything people write, and 5 MB cost milliseconds.
_CHARACTERS_A_TOKEN = 100


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids and segment ids of one text or pair, with special tokens, truncated, unpadded."""

    ids: list[int]
    type_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class TextEncoder:
    """A tokenizer with a truncation of its own, whatever the tokenizer that it is made from has.

    Args:
        tokenizer: it stays as it is.
        max_length: the most tokens of a text or pair, special tokens included.
        shared: whether others use ``tokenizer`` too; if not, it is used itself and not a copy.
    """

    def __init__(self, tokenizer: "Tokenizer", max_length: int, *, shared: bool = True) -> None:
        self.max_length = max_length
        self._tokenizer = deepcopy(tokenizer) if shared else tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    @classmethod
    def from_file(cls, path: Path, max_length: int) -> "TextEncoder":
        """The tokenizer in a ``tokenizer.json``.

        Raises:
            CompressError: there is none, or none that can be read.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - tokenizers raises plain Exception, for a missing file too
            reason = str(error).partition("\n")[0]
            raise CompressError(f"{path}: is no tokenizer ({reason}); make or copy the folder again") from None
        return cls(tokenizer, max_length, shared=False)

    def __call__(self, texts: Sequence[Text]) -> list[Encoding]:
        """One encoding a text, in order."""
        found = self._tokenizer.encode_batch_fast([self.cut(text) for text in texts])
        return [Encoding(encoding.ids, encoding.type_ids) for encoding in found]

    def cut(self, text: Text) -> Text:
        """The beginning of ``text`` (of both, for a pair): the characters in which its tokens are looked for."""
        limit = self.max_length * _CHARACTERS_A_TOKEN
        return text[:limit] if isinstance(text, str) else (text[0][:limit], text[1][:limit])


def pad(encodings: Sequence[Encoding]) -> Feeds:
    """The model's inputs, int64 ``[batch, longest]``, padded on the right with zeros (BERT's ``[PAD]``)."""
    shape = (len(encodings), max(map(len, encodings)))
    feeds = {name: np.zeros(shape, dtype=np.int64) for name in INPUTS}
    for row, encoding in enumerate(encodings):
        feeds["input_ids"][row, : len(encoding)] = encoding.ids
        feeds["token_type_ids"][row, : len(encoding)] = encoding.type_ids
        feeds["attention_mask"][row, : len(encoding)] = 1
    return feeds
