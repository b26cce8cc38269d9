"""The record that a search keeps in its folder, to go on after a kill or with other goals."""

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

GONE = "gone"  # the stage that counts the time of tries that failed, or whose folder was deleted


def check_folder(out: Path, inputs: tuple[Path, ...]) -> None:
    """Refuse a folder that cannot be written or is not for outputs, and a ``search.json`` that is not ours."""
    check_place(out, inputs)
    if out.exists() and not os.access(out, os.W_OK):
        raise CompressError(f"--out {out}: cannot be written; choose another place")
    if (out / SEARCH).is_file() and not is_ours(out):
        raise CompressError(f"--out {out}: its {SEARCH} is not that of a search, or damaged; choose another")


def _delete_earlier_search(out: Path) -> None:
    """Delete all of an earlier search but the lock, which is held.

    First the file is written without a model and data, so that no search goes on with the rest after a kill.
    """
    write_whole(out / SEARCH, json.dumps(asdict(_State())))
    for path in out.iterdir():
        if path.is_dir() and not path.is_symlink():
            delete_folder(path)
        elif path.name not in (LOCK, SEARCH):
            path.unlink()


def delete_folder(folder: Path) -> None:
    """Delete a folder, or raise an error where a part of it is left."""
    remove(folder)
    if folder.exists():
        raise CompressError(f"{folder}: cannot be deleted; delete it, or choose another --out")


@dataclass(frozen=True)
class TeacherTimes:
    """Latencies from a text to its answer, and ``try_s``, about the seconds of a try but for its training."""

    teacher_ms: float  # median, in PyTorch
    int8_ms: float  # median, of the teacher's int8 model
    int8_mean_ms: float
    try_s: float


@dataclass
class Facts:
    """What is found before the tries. The names of the fields are keys of ``search.json``.

    Attributes:
        teacher: whether the teacher was trained.
        epoch_s: seconds of one epoch of the whole teacher, by batch size.
        words: the number of tokens that a smaller vocabulary would keep.
        whole: latencies of the teacher.
        cuts: cuts of the teacher, by their speed-up.
        estimated_s: the first estimate of the seconds that the search takes in all, for the goals asked for now.
    """

    teacher: bool = False
    epoch_s: dict[int, float] = field(default_factory=dict)
    words: int | None = None
    whole: TeacherTimes | None = None
    cuts: dict[float, Cut] | None = None
    estimated_s: float | None = None


@dataclass
class _State:
    """The content of ``search.json``."""

    about: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    before_s: float = 0.0  # spent before these goals were asked for
    no_tries_before_s: float = 0.0  # of that, spent on other stages than tries
    facts: Facts = field(default_factory=Facts)
    seconds: dict[str, float] = field(default_factory=dict)  # spent on each stage but the tries, with GONE
    tries: list[Try] = field(default_factory=list)


class SearchRecord:
    """``search.json``: the model and data of the search, what was found before the tries, and the tries.

    Nothing is written before :meth:`begin`, so an error until then leaves an earlier search as it was.
    """

    def __init__(
        self, folder: Path, about: Mapping[str, Any], asked: Mapping[str, Any], *, forget: bool = False
    ) -> None:
        """``about`` is what the tries depend on, ``asked`` the settings of the user; ``forget`` begins anew.

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
        self.keep_tries(lambda trial: trial.final or not trial.failed)  # the others are tried again

    def keep_tries(self, wanted: Callable[[Try], bool]) -> None:
        """Forget all tries but the ``wanted``, before anything is written; the time that they took still counts."""
        known = self._state.tries
        self._count_as_gone(sum(each.seconds for each in known if not wanted(each)))
        self.tries = self._state.tries = [each for each in known if wanted(each)]
        if self._is_asked_anew:
            self._state.before_s, self._state.no_tries_before_s = self.seconds, sum(self.seconds_of.values())

    def forget_stage(self, name: str) -> None:
        """Forget that a stage is done; the time that it took still counts."""
        self._count_as_gone(self._state.seconds.pop(name, 0.0))

    def _count_as_gone(self, seconds: float) -> None:
        if seconds:
            self._state.seconds[GONE] = self._state.seconds.get(GONE, 0.0) + seconds

    def begin(self) -> None:
        """Begin to write, after deleting an earlier search that is to be forgotten."""
        if self._forget:
            _delete_earlier_search(self._path.parent)
        self._begun = True
        self._write()

    @property
    def seconds_of(self) -> Mapping[str, float]:
        """Seconds of each stage but the tries; ``GONE`` counts what was forgotten."""
        return self._state.seconds

    @property
    def seconds(self) -> float:
        """Seconds of the whole search: the tries and the stages before them."""
        return sum(each.seconds for each in self.tries) + sum(self.seconds_of.values())

    @property
    def spent_s(self) -> float:
        """Seconds spent on the search since the user asked for the present goals."""
        return self.seconds - self._state.before_s

    @property
    def spent_before_tries_s(self) -> float:
        """Seconds of :attr:`spent_s` that were not spent on the tries in the record."""
        return sum(self.seconds_of.values()) - self._state.no_tries_before_s

    @property
    def made(self) -> list[Try]:
        """The tries that have a model."""
        return [each for each in self.tries if not each.failed]

    def add(self, trial: Try) -> None:
        """Add a try and write the record."""
        self.tries.append(trial)
        self._write()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body as the stage ``name``, then write the record with what it found."""
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
