"""What doctor says: one line a thing, with the figures behind it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        about: what was looked at.
        text: what was found, and what to do where it is not ok.
        ok: whether nothing needs to be done.
        figures: the same in numbers, for ``--json``; empty where the text says it all.
    """

    about: str
    text: str
    ok: bool = True
    figures: dict[str, Any] = field(default_factory=dict)
