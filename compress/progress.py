"""Progress and messages on stderr: bars with the time left on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Protocol

from compress.clock import Stopwatch, in_words

_PLAIN_EVERY_S = 10.0
_quiet = False
_held: list[str] = []


class Advance(Protocol):
    """Moves a bar on by ``steps``; ``note`` is shown beside it (the loss, the metric)."""

    def __call__(self, steps: int = 1, note: str = "") -> None: ...


def be_quiet(quiet: bool) -> None:
    """Silence :func:`say` and the bars for this process (``--quiet``)."""
    global _quiet  # noqa: PLW0603 - one switch for the process, set once by the command line
    _quiet = quiet
    _held.clear()


@contextmanager
def quietly() -> Iterator[None]:
    """Silence the body, whose caller reports its work in a line of its own."""
    before = _quiet
    show_held()
    be_quiet(True)
    try:
        yield
    finally:
        be_quiet(before)


def say(message: str) -> None:
    """Print one line for the person who watches."""
    show_held()
    if not _quiet:
        print(message, file=sys.stderr, flush=True)


def say_before_work(message: str) -> None:
    """Hold one line back until the work begins, with the next line or bar.

    So an error before the work is one line, whatever was noticed on the way.
    """
    if message not in _held:
        _held.append(message)


@contextmanager
def dropping_held() -> Iterator[None]:
    """Drop the lines that are still held where the body fails: in an app the next call would print them as its own."""
    try:
        yield
    except BaseException:
        _held.clear()
        raise


def show_held() -> None:
    """Print the lines that :func:`say_before_work` holds."""
    messages = _held.copy()
    _held.clear()
    for message in messages:
        say(message)


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Advance]:
    """A bar of ``total`` steps with the time left; ``done`` steps were taken before.

    >>> with progress("training", total=10) as advance:
    ...     advance(1, note="loss 0.31")
    """
    if _quiet:
        yield lambda *_, **__: None
    elif sys.stderr.isatty() and find_spec("rich"):  # the base install has no bars
        show_held()
        with _bar(title, total, done) as advance:
            yield advance
    else:
        yield _plain(title, total, done)


@contextmanager
def _bar(title: str, total: int, done: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            bar.advance(task, steps)
            if note:
                bar.update(task, note=note)

        yield advance


def _plain(title: str, total: int, before: int) -> Advance:
    """Print a line every ten seconds, for logs and CI, where a bar would be unreadable."""
    watch, state = Stopwatch(), {"done": before, "said_s": 0.0}

    def advance(steps: int = 1, note: str = "") -> None:
        state["done"] += steps
        done, elapsed_s = int(state["done"]), watch.seconds
        finished = done >= total
        if done == before or (elapsed_s - state["said_s"] < _PLAIN_EVERY_S and not finished):
            return
        state["said_s"] = elapsed_s
        left_s = elapsed_s / (done - before) * (total - done)
        left = f"done in {in_words(elapsed_s)}" if finished else f"{in_words(left_s)} left"
        say(f"{title}: {done}/{total}, {left}" + (f", {note}" if note else ""))

    return advance
