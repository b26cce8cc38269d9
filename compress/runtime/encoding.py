"""From texts to token ids and padded batches, with checks: one path for training, measuring and serving."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from compress.errors import CompressError, TextError, UnreadableTextError
from compress.folder import Manifest
from compress.runtime.graph_file import INPUTS
from compress.runtime.long_texts import HEAD, LongTexts
from compress.runtime.partial import PartialTokenizer, Read, Sides

if TYPE_CHECKING:
    from tokenizers import Encoding as Tokens
    from tokenizers import Tokenizer

Text = str | tuple[str, str]
GivenText = Text | list[str]  # as an app may write it
Feeds = dict[str, npt.NDArray[np.int64]]

# The encodings of tokenizers take many times the memory of the ids, and of texts in windows nothing is cut off.
_TEXTS_AT_ONCE = 256

_PADDING = ("[PAD]", "<pad>")  # the token that fills up short texts, as all our families' tokenizers call it


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids and segment ids of one text or pair, with special tokens, truncated, unpadded.

    For a text that is read in windows they hold all windows, one after the other, of ``width`` tokens but the last.
    """

    ids: list[int]
    type_ids: list[int]
    pad_id: int = 0  # the token that fills up shorter texts of a batch
    width: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> "list[Encoding]":
        """The rows that a model reads: the whole text, or each of its windows."""
        if self.width is None:
            return [self]
        cuts = [slice(start, start + self.width) for start in range(0, len(self), self.width)]
        return [Encoding(self.ids[cut], self.type_ids[cut], self.pad_id) for cut in cuts]


class TextEncoder:
    """Texts to token ids, with a limit of tokens that replaces the tokenizer's own.

    Args:
        tokenizer: makes the tokens.
        max_length: the most tokens of a text or pair, or of each window of a text, special tokens included.
        truncation_side: where a longer text loses tokens: its end for ``right``, its beginning for ``left``.
        long_texts: how a longer text is read.
        shared: whether others use ``tokenizer`` too; then a copy of it is changed and used, and it stays as it is.
    """

    def __init__(
        self,
        tokenizer: "Tokenizer",
        max_length: int,
        truncation_side: str = "right",
        long_texts: LongTexts = HEAD,
        *,
        shared: bool = True,
    ) -> None:
        windows = long_texts.in_windows
        self._tail: TextEncoder | None = None
        if long_texts.mode == "head-tail":
            self._tail = TextEncoder(tokenizer, max_length, "left")
            truncation_side = "right"
        self.max_length, self.long_texts = max_length, long_texts
        self._width = max_length if windows else None
        self._tokenizer = deepcopy(tokenizer) if shared else tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(
            max_length, stride=long_texts.stride if windows else 0, direction=truncation_side
        )
        pad_ids = (tokenizer.token_to_id(token) for token in _PADDING)
        self.pad_id = next((pad_id for pad_id in pad_ids if pad_id is not None), 0)
        keeps_start = truncation_side == "right"
        self._partial = PartialTokenizer(self._tokenizer, max_length, keeps_start=keeps_start, whole=windows)

    @classmethod
    def of(cls, folder: Path, manifest: Manifest) -> "TextEncoder":
        """The encoder of a model folder of ours."""
        return cls.from_file(folder / "tokenizer.json", manifest.max_length, LongTexts.of(manifest))

    @classmethod
    def from_file(cls, path: Path, max_length: int, long_texts: LongTexts = HEAD) -> "TextEncoder":
        """The encoder from a ``tokenizer.json``, which also has the truncation side."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(path))
            return cls(tokenizer, max_length, side_of(tokenizer), long_texts, shared=False)
        except BaseException as error:  # noqa: BLE001 - see _reason
            reason = _reason(error)
            raise CompressError(f"{path}: is no tokenizer ({reason}); make or copy the folder again") from None

    def __call__(self, texts: Sequence[Text]) -> list[Encoding]:
        """One encoding for each text, in order; only as much of a long text is read as its tokens need."""
        encodings: list[Encoding] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            read = self._read([_sides(text) for text in texts[start : start + _TEXTS_AT_ONCE]])
            encodings += [self._encoding(tokens) for _, tokens in read]
        if self._tail is None:
            return encodings
        return [self._both_ends(*ends) for ends in zip(encodings, self._tail(texts), strict=True)]

    def _encoding(self, tokens: "Tokens") -> Encoding:
        rows = [tokens, *tokens.overflowing] if self._width else [tokens]
        ids = list(chain.from_iterable(row.ids for row in rows))
        type_ids = list(chain.from_iterable(row.type_ids for row in rows))
        # Without special tokens an empty text has no tokens, and ONNX Runtime ends the whole process.
        return Encoding(ids or [self.pad_id], type_ids or [0], self.pad_id, self._width)

    def _both_ends(self, head: Encoding, tail: Encoding) -> Encoding:
        """A quarter of the tokens from the head, as Sun et al. (2019) take 128 of 512, and the rest from the tail."""
        at = self.max_length // 4 if len(head) == self.max_length else len(head)
        return Encoding(head.ids[:at] + tail.ids[at:], head.type_ids[:at] + tail.type_ids[at:], self.pad_id)

    def _read(self, texts: list[Sides]) -> list[Read]:
        try:
            return self._partial.read(texts)
        except BaseException as error:  # noqa: BLE001 - see _reason
            reason = _reason(error)
            raise CompressError(
                f"the tokenizer cannot read a text ({reason}); its file is damaged: make or copy the folder again"
            ) from None


def _reason(error: BaseException) -> str:
    """The message of an error in tokenizers, which raises plain Exceptions and lets its Rust code panic.

    Any other error, such as Ctrl-C, is raised again.
    """
    if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
        raise error
    return str(error).partition("\n")[0] or type(error).__name__


def _sides(text: Text) -> Sides:
    return (text,) if isinstance(text, str) else text


def side_of(tokenizer: "Tokenizer") -> str:
    """The side that a tokenizer truncates by the limit in its file, ``left`` or ``right``; without one, ``right``."""
    return str((tokenizer.truncation or {}).get("direction", "right")).lower()


def pad(encodings: Sequence[Encoding]) -> Feeds:
    """The model's inputs, int64 ``[batch, longest]``, padded on the right with the padding token."""
    shape = (len(encodings), max(map(len, encodings)))
    feeds = {name: np.zeros(shape, dtype=np.int64) for name in INPUTS}
    feeds["input_ids"][:] = encodings[0].pad_id
    for row, encoding in enumerate(encodings):
        feeds["input_ids"][row, : len(encoding)] = encoding.ids
        feeds["token_type_ids"][row, : len(encoding)] = encoding.type_ids
        feeds["attention_mask"][row, : len(encoding)] = 1
    return feeds


def is_one(texts: object, *, pairs: bool) -> bool:
    """Whether ``texts`` is one text (for tasks on pairs: one tuple of two texts) rather than many."""
    return is_pair(texts) and isinstance(texts, tuple) if pairs else isinstance(texts, str)


def is_pair(item: object) -> bool:
    """Whether ``item`` is a tuple or a list of two texts."""
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def checked(texts: Iterable[GivenText], *, pairs: bool) -> Iterator[Text]:
    """Each item, checked to be a text or a pair; a wrong item is refused with its position."""
    wanted = "a pair of texts" if pairs else "a text"
    if isinstance(texts, Mapping) or hasattr(texts, "columns") or hasattr(texts, "column_names"):
        column = "zip(data['one'], data['other'])" if pairs else "data['text']"
        raise TextError(f"texts are a {type(texts).__name__}, a table of columns; pass its column: {column}")
    items = None
    if not isinstance(texts, str | bytes):
        with suppress(TypeError):  # not iterable, as an array without dimensions is not, though it has __iter__
            items = enumerate(texts)
    if items is None:
        raise TextError(f"texts must be {wanted} or an iterable of them, got {texts!r:.60}")
    for position, item in items:
        if not (is_pair(item) if pairs else isinstance(item, str)):
            raise TextError(f"texts[{position}] must be {wanted if pairs else 'a str'}, got {item!r:.60}")
        text = item if isinstance(item, str) else (item[0], item[1])
        for part in (text,) if isinstance(text, str) else text:
            _check_unicode(part, position)
        yield text


def _check_unicode(text: str, position: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableTextError(
            f"texts[{position}] has a lone surrogate ({text[error.start]!a}) at character {error.start}, which is no "
            "character; replace it, for example by text.encode('utf-8', 'replace').decode()"
        ) from None
