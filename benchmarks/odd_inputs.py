"""Odd but real inputs: how many are answered right, refused in one line, or go wrong, now and at an older revision.

python -m benchmarks.odd_inputs [--against REVISION]

The cases are the tables of the tests, ``tests/*/test_odd_*.py``. Each has ``CASES`` and, as a function of a case,
a folder and what was said, ``outcome``: ``right``, ``refused``, or what is wrong. With ``--against`` the same cases are
also put to the package as it was at a git revision; one that needs a name or a setting that it lacks is not tried.
The counts and every outcome go to ``results/odd_inputs.json``.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "odd_inputs.json"
# "other words": a refusal in one line, but not with what the table wants; "fine": what should have been answered.
KINDS = ("right", "refused", "refused in other words", "refused though fine", "wrong", "traceback", "not tried")
_OTHER_WORDS = "refused without its words"
_NEW_SETTING = r"data\.\w+ (is not a setting|should be a valid string, got \[)"
_LONGEST = 300

Outcomes = dict[str, str]  # by case


def main() -> None:
    """Try all cases, print the tables and keep the outcomes."""
    parser = argparse.ArgumentParser(description="odd inputs: answered right, refused, or wrong")
    parser.add_argument("--against", metavar="REVISION", help="also try the package of this git revision")
    parser.add_argument("--try", dest="catalogue", help=argparse.SUPPRESS)  # what each process is started with
    given = parser.parse_args()
    if given.catalogue:
        for name, outcome in tried(given.catalogue):
            print(json.dumps([name, outcome]), flush=True)
        return
    found = {"now": all_tried(ROOT)}
    if given.against:
        with package_of(given.against) as folder:
            before = all_tried(folder)
        missing = {
            name: dict.fromkeys(cases, "not tried: its module or process failed")
            for name, cases in found["now"].items()
        }
        found[given.against] = {name: cases | before[name] for name, cases in missing.items()}
    counts = {revision: {name: counted(cases) for name, cases in each.items()} for revision, each in found.items()}
    RESULTS.write_text(json.dumps({"counts": counts, "outcomes": found}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(table(counts))


def all_tried(folder: Path) -> dict[str, Outcomes]:
    """The outcomes of every table, each tried in a process of its own with the package in ``folder``."""
    found = {}
    for file in sorted(ROOT.glob("tests/*/test_odd_*.py")):
        command = [sys.executable, "-m", "benchmarks.odd_inputs", "--try", f"tests.{file.parent.name}.{file.stem}"]
        env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        today = folder == ROOT  # an older package may lack a name that a table imports; today's has to have them all
        done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=today)
        found[file.stem.removeprefix("test_odd_")] = dict(map(json.loads, done.stdout.splitlines()))
    return found


@contextlib.contextmanager
def package_of(revision: str) -> Iterator[Path]:
    """A folder with ``compress`` as it was at ``revision``, beside the tests and benchmarks of today."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        packed = subprocess.run(["git", "archive", revision, "compress"], cwd=ROOT, stdout=subprocess.PIPE, check=False)
        if packed.returncode:  # git has said why
            raise SystemExit(
                f"odd_inputs: --against {revision} is no revision with a package; give one such as d737081"
            )
        subprocess.run(["tar", "x", "-C", str(folder)], input=packed.stdout, check=True)
        for name in ("tests", "benchmarks"):
            (folder / name).symlink_to(ROOT / name)
        yield folder


def tried(module: str) -> Iterator[tuple[str, str]]:
    """Each case of a table with its outcome, or the last line of its traceback."""
    catalogue = imported(module)
    for case in catalogue.CASES:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                with contextlib.redirect_stdout(said):
                    outcome = catalogue.outcome(case, Path(folder), said.getvalue)
            except Exception as error:  # noqa: BLE001 - a traceback is what is counted
                outcome = _failure(error)
        if outcome.startswith(_OTHER_WORDS):
            kind = "refused in other words" if case.refused else "refused though fine"
            kind = "not tried" if re.search(_NEW_SETTING, outcome) else kind
            outcome = kind + outcome.removeprefix(_OTHER_WORDS)
        yield case.name, outcome.replace(folder, "DIR")[:_LONGEST]


def imported(module: str) -> Any:
    """A table's module, with stand-ins for the names that an older package lacks: cases that use one are not tried."""
    import compress.progress

    if not hasattr(compress.progress, "show_held"):  # then it holds no lines back
        compress.progress.show_held = lambda: None
    while True:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            name = str(error.name)
            if not name.startswith("compress.") or name in sys.modules:
                raise
            sys.modules[name] = ModuleType(name)
        except ImportError as error:
            found = re.match(r"cannot import name '(\w+)' from '(compress[\w.]*)'", str(error))
            if found is None:
                raise
            setattr(sys.modules[found[2]], found[1], _lacking(f"{found[2]}.{found[1]}"))


def _lacking(name: str) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise LookupError(f"this package has no {name}")

    return call


def _failure(error: Exception) -> str:
    """A traceback through the package is one that users would see; one of the table alone cannot be blamed on it."""
    import compress

    package = Path(str(compress.__file__)).parent
    through = any(package in Path(frame.filename).parents for frame in traceback.extract_tb(error.__traceback__))
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return f"{'traceback' if through else 'not tried'}: {reason}"


def kind_of(outcome: str) -> str:
    """Which of ``KINDS``."""
    if outcome in ("right", "refused"):
        return outcome
    return next((kind for kind in KINDS if outcome.startswith(f"{kind}:")), "wrong")


def counted(outcomes: Mapping[str, str]) -> dict[str, int]:
    """How many cases there are of each kind."""
    counts = Counter(map(kind_of, outcomes.values()))
    return {kind: counts[kind] for kind in KINDS}


def table(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """Markdown: a row for each table and revision."""
    lines = [f"| cases | package | tried | {' | '.join(KINDS)} |", f"|---|---|{'---:|' * (1 + len(KINDS))}"]
    for name in next(iter(counts.values())):
        for revision, each in counts.items():
            found: Any = each[name]
            total = sum(found.values()) - found["not tried"]
            lines.append(f"| {name} | {revision} | {total} | {' | '.join(str(found[kind]) for kind in KINDS)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
