"""How much the service accepts, and the defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How much the service accepts.

    Attributes:
        queue: the most texts that may wait for each model.
        texts: the most texts in one request, no more than the queue holds.
        characters: the most characters in one text. Most models read no more than a few thousand, but a model trained
            with ``--long-texts windows`` reads them all, in dozens of rows.
        body_bytes: the most bytes in one request's body.
    """

    queue: int = 1024
    texts: int = 256
    characters: int = 100_000
    body_bytes: int = 4_000_000
