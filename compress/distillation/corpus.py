"""Labelled texts and more without labels, tokenized once into files, so that memory does not grow with their number."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from compress.errors import CompressError
from compress.runtime.encoding import Text, TextEncoder
from compress.training.encodings import Encodings

_TEXTS_AT_ONCE = 2_000


def build_corpus(labelled: Encodings, more: Iterable[Text], encoder: TextEncoder, folder: Path) -> Encodings:
    """``labelled`` and after it ``more``, mapped from files in ``folder``; ``labelled`` itself if there is no more.

    Args:
        labelled: texts that are encoded already.
        more: texts or pairs; only a few are in memory at a time.
        encoder: encodes them as it did the labelled ones.
        folder: where the files stay as long as the texts are read; it is made if needed.

    Raises:
        CompressError: the files cannot be written; they are removed.
    """
    texts = iter(more)
    first = next(texts, None)
    if first is None:
        return labelled
    paths = {name: folder / f"{name}.bin" for name in ("ids", "type_ids", "offsets")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(chain([labelled], _encoded(chain([first], texts), encoder)), paths)
    except BaseException as error:
        for path in paths.values():
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise CompressError(f"{folder}: cannot be written ({error.strerror}); free some space") from None
        raise
    return Encodings(
        *(
            np.asarray(np.memmap(paths[name], dtype, mode="r"))
            for name, dtype in (("ids", np.int32), ("type_ids", np.uint8), ("offsets", np.int64))
        )
    )


def _write(parts: Iterable[Encodings], paths: dict[str, Path]) -> None:
    end = 0
    with paths["ids"].open("wb") as ids, paths["type_ids"].open("wb") as type_ids, paths["offsets"].open("wb") as ends:
        ends.write(np.int64(0).tobytes())
        for part in parts:
            ids.write(part.ids.tobytes())
            type_ids.write(part.type_ids.tobytes())
            ends.write((part.offsets[1:] + end).tobytes())
            end += len(part.ids)


def _encoded(texts: Iterator[Text], encoder: TextEncoder) -> Iterator[Encodings]:
    while some := list(islice(texts, _TEXTS_AT_ONCE)):
        yield Encodings.pack(encoder(some))
