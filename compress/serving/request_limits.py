"""What a service takes, and how much of it where nobody says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What the service takes.

    Attributes:
        queue: texts that may wait, of each model.
        texts: of one request; no more than the queue holds.
        characters: of one text. A model reads the first few thousand at most, but one that was trained with
            ``--long-texts windows`` reads them all, in dozens of rows.
        body_bytes: of one request.
    """

    queue: int = 1024
    texts: int = 256
    characters: int = 100_000
    body_bytes: int = 4_000_000
