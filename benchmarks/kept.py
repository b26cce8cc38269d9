"""What the benchmarks share: what a kept result says of itself, how it is written, read and gone on with, and tables.

Also for the attacks in ``tests``.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NoReturn

from compress.clock import Stopwatch, in_words
from compress.durable import write_whole
from compress.errors import CompressError
from compress.folder import read_manifest
from compress.machine import describe_machine, package_versions
from compress.progress import say

_ROOT = Path(__file__).parents[1]
RESULTS = _ROOT / "benchmarks" / "results"
NOT_YET = "Not yet measured: its command is in `benchmarks/README.md`.\n"
_UNKNOWN = "not recorded"

Row = dict[str, Any]


def program(main: Callable[[], int | None]) -> NoReturn:
    """Run it as a command: what can be foreseen to fail is told in one line."""
    try:
        sys.exit(main())
    except CompressError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def add_arguments(parser: argparse.ArgumentParser, file: str) -> None:
    """``--out`` and ``--beside``."""
    parser.add_argument("--out", type=Path, default=RESULTS / file)
    parser.add_argument("--beside", help="what else runs on the machine, kept with the figures")


def add_keep(parser: argparse.ArgumentParser) -> None:
    """``--keep``, of a command that keeps nothing unasked."""
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the result there, as JSON")


def add_choice(parser: argparse.ArgumentParser, flag: str, known: Iterable[str]) -> None:
    """A flag that takes some of the names that are known; all without it."""
    names = list(known)
    parser.add_argument(flag, nargs="+", choices=names, default=names, metavar="NAME", help="; ".join(names))


def need_folders(parser: argparse.ArgumentParser, folders: Iterable[Path]) -> None:
    """Refuse what is not there before anything is done, and no line about it is kept."""
    if missing := [str(folder) for folder in folders if not folder.is_dir()]:
        parser.error(f"{', '.join(missing)}: no such folder; give others")


def about(
    threads: list[int], *, model: Path | None = None, beside: str | None = None, packages: Iterable[str] = ()
) -> Row:
    """The first fields of a result; ``packages`` are those that count beside the usual ones."""
    machine = describe_machine(threads)
    machine["versions"] |= package_versions(packages)
    told = {"created": now(), "commit": commit(), "machine": machine, "beside": beside}
    return told | ({"model": read_manifest(model).digest} if model else {})


def now() -> str:
    """The time, as results have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str | None:
    """The commit of this checkout, with ``-dirty`` after it where files were changed since; None outside of git.

    A benchmark that adds lines to a result changes that result, and not the code.
    """
    changed = ["status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){RESULTS.relative_to(_ROOT)}"]
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("-dirty" if _git(*changed) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()


class Record:
    """A result that says how long it took: counts from its creation."""

    def __init__(self, threads: int = 1) -> None:
        self._about = about([threads])
        self._watch = Stopwatch()

    def tell(self, found: Mapping[str, Any], keep: Path | None) -> None:
        """Print what was found as JSON, and write it to ``keep``."""
        document = {**self._about, "seconds": round(self._watch.seconds, 1), **found}
        print(as_json(document), end="")
        if keep:
            write(keep, document)


def as_json(document: Mapping[str, Any]) -> str:
    """As results are kept."""
    return json.dumps(document, indent=1) + "\n"


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Keep a result."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, as_json(document))


def add_line(path: Path, row: Mapping[str, Any]) -> None:
    """Add a document to JSON Lines, which are begun where there are none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def read(path: Path) -> Any:
    """The document in a JSON file; of JSON Lines the list of all."""
    return read_lines(path) if path.suffix == ".jsonl" else json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[Row]:
    """All documents of JSON Lines; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def read_last(path: Path, keys: Iterable[str]) -> list[Row]:
    """The lines that are there; of what is known by the values of ``keys`` and has several, the last one."""
    keys = tuple(keys)
    return list({tuple(row[key] for key in keys): row for row in read_lines(path)}.values())


def each_once(results: Path, wanted: Iterable[Row], find: Callable[[Row], Row]) -> bool:
    """Add a line for all that is wanted and has none, as soon as it is done; returns whether none failed.

    A line says first what was asked. One that failed has the reason, and is tried again the next time.
    """
    there = [row for row in read_lines(results) if "failed" not in row]
    left = [asked for asked in wanted if not any(asked.items() <= row.items() for row in there)]
    failed, watch = False, Stopwatch()
    for done, asked in enumerate(left, start=1):
        say(", ".join(f"{key} {value}" for key, value in asked.items()))
        try:
            row = asked | find(asked)
        except CompressError as error:
            say(str(error))
            failed = True
            row = asked | {"failed": str(error)}
        add_line(results, row)
        left_s = watch.seconds / done * (len(left) - done)
        say(f"{done} of {len(left)} done; about {in_words(left_s)} left")
    return not failed


def markdown(lines: Iterable[Iterable[object]], words: int = 1) -> str:
    """A table in Markdown; the first line has the heads.

    The first ``words`` columns hold words, the others numbers. What is missing at the end of a line stays empty.
    """
    heads, *others = ([*map(str, line)] for line in lines)
    ruled = [heads, ["---" if column < words else "--:" for column in range(len(heads))], *others]
    return "".join(f"| {' | '.join([*line, *[''] * (len(heads) - len(line))])} |\n" for line in ruled)


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """Mean and standard deviation, ``84.0 ± 7.1``; of one value, that."""
    return f"{fmean(values):{form}}" + (f" ± {stdev(values):{form.lstrip('+')}}" if len(values) > 1 else "")


def conditions(document: Mapping[str, Any]) -> str:
    """Machine, threads, versions, what ran beside, the commit and the day of a result, as far as it says."""
    machine = document.get("machine")
    if not machine:
        return _UNKNOWN
    vnni = any("vnni" in flag for flag in machine["cpu_flags"])
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    versions = (f"{name} {version}" for name, version in machine["versions"].items() if version)
    told = [f"{machine.get('gpu') or machine['cpu']} ({'VNNI' if vnni else 'no VNNI'}, {cores})"]
    told += [f"threads {' and '.join(map(str, machine['threads']))}", ", ".join(versions)]
    told += [f"beside {document['beside']}"] if document.get("beside") else []
    told += [f"commit {each[:7]}{each[12:]}"] if (each := document.get("commit")) else []
    return ", ".join([*told, document.get("created", "")[:10] or f"day {_UNKNOWN}"])


def below(document: Mapping[str, Any]) -> str:
    """The line below a table."""
    return f"\n{conditions(document)}.\n"
