"""What a search remembers in its folder, so that it goes on after a kill and can be asked for something else."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from compress.clock import Stopwatch
from compress.durable import remove, write_whole
from compress.errors import CompressError
from compress.folder import SEARCH
from compress.modeling.widths import Cut
from compress.new_folder import LOCK, check_place, is_ours
from compress.tuning.tries import Try

GONE = "gone"  # tries that failed, or whose folder was deleted


def check_folder(out: Path, inputs: tuple[Path, ...]) -> None:
    """Refuse a place that no search may have, one that cannot be written, and a ``search.json`` that is not ours."""
    check_place(out, inputs)
    if out.exists() and not os.access(out, os.W_OK):
        raise CompressError(f"--out {out}: cannot be written; choose another place")
    if (out / SEARCH).is_file() and not is_ours(out):
        raise CompressError(f"--out {out}: its {SEARCH} is not that of a search, or damaged; choose another")


def _empty(out: Path) -> None:
    """Take away all of an earlier search but for the lock, which is held.

    Until that is done the file says of no data that the search is about them, so that none goes on in what is left.
    """
    write_whole(out / SEARCH, json.dumps(asdict(_State())))
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            take_away(path)
        elif path.name not in (LOCK, SEARCH):
            path.unlink()


def take_away(folder: Path) -> None:
    """Delete it, or refuse to go on beside what is left of it."""
    remove(folder)
    if folder.exists():
        raise CompressError(f"{folder}: cannot be deleted; delete it, or choose another --out")


@dataclass(frozen=True)
class WholeTimes:
    """From a text to its answer: what the teacher itself takes, and its int8 model in the median and the mean.

    ``try_s`` is about what a try takes but for its training.
    """

    teacher_ms: float
    int8_ms: float
    int8_mean_ms: float
    try_s: float


@dataclass
class Facts:
    """What is found before the tries.

    Attributes:
        teacher: whether it was trained.
        epoch_s: what an epoch of the whole teacher takes, by the texts in a batch.
        words: the tokens that a smaller vocabulary would keep.
        whole: how fast the teacher is.
        cuts: of the teacher, by their speed-up.
        estimated_s: what all of it was first thought to take for what is asked now.
    """

    teacher: bool = False
    epoch_s: dict[int, float] = field(default_factory=dict)
    words: int | None = None
    whole: WholeTimes | None = None
    cuts: dict[float, Cut] | None = None
    estimated_s: float | None = None


@dataclass
class _State:
    """What ``search.json`` holds."""

    about: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    before_s: float = 0.0  # spent until this was asked, and what of it was no try
    no_tries_before_s: float = 0.0
    facts: Facts = field(default_factory=Facts)
    seconds: dict[str, float] = field(default_factory=dict)  # what finding each fact took, and what is gone
    tries: list[Try] = field(default_factory=list)


class Memory:
    """``search.json``: what the search was about, what was found before the tries, and the tries.

    Nothing is written before :meth:`begin`, so what is refused until then leaves an earlier search as it was.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], asked: Mapping[str, Any], *, forget: bool = False
    ) -> None:
        """``about`` is what the tries depend on, ``asked`` what the user wants of them; ``forget`` begins anew.

        Raises:
            CompressError: the folder is of a search over another model or other data, or its file is damaged.
        """
        self._path, self._forget, self._begun = folder / SEARCH, forget, False
        known = self._path.exists() and not forget
        self._state = self._read() if known else _State(dict(about))
        if differing := [name for name, value in about.items() if self._state.about.get(name) != value]:
            raise CompressError(
                f"--out {folder}: is of a search that differs in {', '.join(differing)}; choose another, or add "
                "--overwrite to begin anew"
            )
        self._is_asked_anew = self._state.asked != asked
        self._state.asked = dict(asked)
        self.facts = self._state.facts
        if self._is_asked_anew:
            self.facts.estimated_s = None
        self.keep_tries(lambda each: each.final or not each.failed)  # others are tried again

    def keep_tries(self, wanted: Callable[[Try], bool]) -> None:
        """Before it begins, forget all others, but not that they took time."""
        known = self._state.tries
        self._lose(sum(each.seconds for each in known if not wanted(each)))
        self.tries = self._state.tries = [each for each in known if wanted(each)]
        if self._is_asked_anew:
            self._state.before_s, self._state.no_tries_before_s = self.seconds, sum(self.seconds_of.values())

    def lose(self, name: str) -> None:
        """A fact is gone, but not that finding it took time."""
        self._lose(self._state.seconds.pop(name, 0.0))

    def _lose(self, seconds: float) -> None:
        if seconds:
            self._state.seconds[GONE] = self._state.seconds.get(GONE, 0.0) + seconds

    def begin(self) -> None:
        """Write what is known, and all that is found from now on; what is to be forgotten goes first."""
        if self._forget:
            _empty(self._path.parent)
        self._begun = True
        self._write()

    @property
    def seconds_of(self) -> Mapping[str, float]:
        """What finding each fact took; and what tries took that are gone, by the name ``GONE``."""
        return self._state.seconds

    @property
    def seconds(self) -> float:
        """What all of it took, tries and what comes before them."""
        return sum(each.seconds for each in self.tries) + sum(self.seconds_of.values())

    @property
    def spent_s(self) -> float:
        """What was spent since the user asked for what is asked now."""
        return self.seconds - self._state.before_s

    @property
    def spent_before_tries_s(self) -> float:
        """What of it was no try that is still there."""
        return sum(self.seconds_of.values()) - self._state.no_tries_before_s

    @property
    def made(self) -> list[Try]:
        """The tries that have a model."""
        return [each for each in self.tries if not each.failed]

    def add(self, found: Try) -> None:
        """Remember one more try."""
        self.tries.append(found)
        self._write()

    @contextmanager
    def finding(self, name: str) -> Iterator[None]:
        """What the body takes is counted under this name, and what it found is written down."""
        watch = Stopwatch()
        yield
        self._state.seconds[name] = watch.seconds
        self._write()

    def _write(self) -> None:
        if self._begun:
            write_whole(self._path, json.dumps(asdict(self._state), indent=1) + "\n")

    def _read(self) -> _State:
        try:
            return TypeAdapter(_State).validate_json(self._path.read_bytes())
        except ValueError:
            raise CompressError(
                f"{self._path}: damaged, or of an earlier version; add --overwrite to begin anew"
            ) from None
