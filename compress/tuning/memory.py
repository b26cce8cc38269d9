"""What a search remembers in its folder, so that it goes on after a kill and can be asked for something else."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from compress.clock import Stopwatch
from compress.durable import write_whole
from compress.errors import CompressError
from compress.new_folder import check_out
from compress.tuning.search import Try

STATE = "search.json"
LOCK = ".lock"

Fact = TypeVar("Fact")


def open_folder(out: Path, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    """Make the folder of a search, or go on in it; with ``overwrite`` forget what it holds."""
    known = (out / STATE).is_file()
    if out.exists() and not known and (not out.is_dir() or any(out.iterdir())):
        raise CompressError(f"--out {out}: exists and is not the folder of a search; choose another")
    check_out(out, overwrite=True, inputs=inputs)
    try:
        if known and overwrite:
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompressError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from None


def leave_nothing_behind(out: Path) -> None:
    """Take away a folder in which no search has begun."""
    if {path.name for path in out.iterdir()} <= {LOCK}:
        shutil.rmtree(out)


class Memory:
    """``search.json``: what the search was about, what was found before the tries, and the tries."""

    def __init__(self, folder: Path, about: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
        """``about`` is what the tries depend on, ``asked`` what the user wants of them.

        Raises:
            CompressError: the folder is of a search over another model or other data.
        """
        self._path = folder / STATE
        found = self._read()
        if found and found["about"] != about:
            raise CompressError(
                f"--out {folder}: is of a search with another model, data or seed, or of another version; choose "
                "another, or add --overwrite to begin anew"
            )
        tries = (Try(**_tuples(each)) for each in found.get("tries", ()))
        self.tries = [each for each in tries if not each.failed]  # what failed is tried again
        self.facts: dict[str, Any] = found.get("facts", {})
        self._about, self._asked = dict(about), dict(asked)
        self._before_s = float(found.get("before_s", 0.0)) if found.get("asked") == asked else self.seconds
        self._write()

    @property
    def seconds(self) -> float:
        """What all of it took, tries and what comes before them."""
        before: dict[str, float] = self.facts.get("seconds", {})
        return sum(each.seconds for each in self.tries) + sum(before.values())

    @property
    def spent_s(self) -> float:
        """What was spent since the user asked for what is asked now."""
        return self.seconds - self._before_s

    def add(self, found: Try) -> None:
        """Remember one more try."""
        self.tries.append(found)
        self._write()

    def fact(self, name: str, find: Callable[[], Fact]) -> Fact:
        """What is known under this name, which JSON can hold; else it is found, and what that took is counted."""
        if name not in self.facts:
            watch = Stopwatch()
            self.facts[name] = find()
            self.facts.setdefault("seconds", {})[name] = watch.seconds
            self._write()
        known: Fact = self.facts[name]
        return known

    def _write(self) -> None:
        whole = {"about": self._about, "asked": self._asked, "before_s": self._before_s, "facts": self.facts}
        whole["tries"] = [asdict(each) for each in self.tries]
        write_whole(self._path, json.dumps(whole, indent=1) + "\n")

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            raise CompressError(f"{self._path}: damaged; add --overwrite to begin anew") from None
        return found


def _tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples: intervals arrive as lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
