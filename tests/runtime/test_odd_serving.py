# ruff: noqa: E501 - a row of the table is a line
"""Odd but real ways to serve an exported folder, a row for each: what is done, and what must come of it.

A case is right if the answer is that of the plain folder for a plain list of texts, or if it is refused in one line with
the row's words. The table can be imported: ``CASES`` and :func:`outcome`.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import datasets
import pandas
import pyarrow
import pytest

import compress
from compress.errors import CompressError, TextError
from tests.damage import flip
from tests.odd import refusal
from tests.packaging.test_odd_models import Case as Model
from tests.packaging.test_odd_models import write_model

TEXTS = ["a good film", "目 été", "bad"]


@dataclass(frozen=True)
class Case:
    """One way to serve.

    Attributes:
        name: the kind in a few words.
        ask: the answers for ``TEXTS``, as labels and scores with 4 digits, from a copy of the folder that it may change.
        refused: words that the error must have; none where the answers must be right.
    """

    name: str
    ask: Callable[[Path], object]
    refused: tuple[str, ...] = ()


@cache
def exported() -> Path:
    work = Path(mkdtemp())
    compress.export(write_model(Model("plain"), work / "model"), work / "onnx", threads=1)
    return work / "onnx"


def shown(predictions: Any) -> list[tuple[str, str]]:
    return [(one.label, f"{one.score:.4f}") for one in predictions]


def answers(folder: Path, texts: Any = tuple(TEXTS), **settings: Any) -> object:
    with compress.load(folder, **{"threads": 1, **settings}) as classifier:
        return shown(classifier(texts))


def given(make: Callable[[dict[str, list[str]]], Any]) -> Callable[[Path], object]:
    """Texts in another form, made of a table with the one column ``text``."""
    return lambda folder: answers(folder, make({"text": TEXTS}))


def hub_cache(folder: Path) -> object:
    """Each file is a link to a blob outside the folder."""
    blobs = folder.with_name("blobs")
    blobs.mkdir()
    for number, path in enumerate([path for path in folder.rglob("*") if path.is_file()]):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    return answers(folder)


def config_map(folder: Path) -> object:
    """Links through ``..data``, a link that Kubernetes turns to the newest version."""
    version = folder / "..2026_01_01"
    names = [path.name for path in folder.iterdir()]
    version.mkdir()
    for name in names:
        (folder / name).rename(version / name)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data").symlink_to(version.name)
    return answers(folder)


def linked_folder(folder: Path) -> object:
    link = folder.with_name("link")
    link.symlink_to(folder)
    return answers(link)


def changed_blob(folder: Path) -> object:
    graph = folder / "onnx" / "model.onnx"
    blob = graph.rename(folder.with_name("blob"))
    flip(blob)
    graph.symlink_to(blob)
    return answers(folder)


def broken_link(folder: Path) -> object:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("nowhere")
    return answers(folder)


def printed(*command: str, **environment: str) -> Callable[[Path], object]:
    """What ``compress predict`` prints where the locale is not UTF-8."""

    def ask(folder: Path) -> object:
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LC_", "LANG", "PYTHONIO", "PYTHONUTF8"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "compress", "predict", folder, *command],
            input="".join(f"{text}\n" for text in TEXTS).encode(),
            env=plain | environment,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise CompressError(done.stderr.decode().strip())
        fields = [line.split("\t") for line in done.stdout.decode("utf-8").splitlines()]
        assert [text for *_, text in fields] == TEXTS
        return [(label, score) for label, score, _ in fields]

    return ask


COLUMN = ("a table of columns", "data['text']")
CASES = [
    Case("the layout of the hub's cache, of DVC and of git-annex", hub_cache),
    Case("the layout of a Kubernetes ConfigMap", config_map),
    Case("a link to the folder", linked_folder),
    Case("a link to a file that was changed", changed_blob, ("model.onnx", "changed")),
    Case("a link that leads nowhere", broken_link, ("tokenizer.json", "missing")),
    Case("a dict of columns", given(dict), ("dict", *COLUMN)),
    Case("a DataFrame", given(pandas.DataFrame), ("DataFrame", *COLUMN)),
    Case("a column of a DataFrame", given(lambda table: pandas.DataFrame(table)["text"])),
    Case("an Arrow table", given(pyarrow.table), ("Table", *COLUMN)),
    Case("a data set of datasets", given(datasets.Dataset.from_dict), ("Dataset", *COLUMN)),
    Case("a column of a data set", given(lambda table: datasets.Dataset.from_dict(table)["text"])),
    Case("rows as dicts", given(lambda table: [{"text": text} for text in table["text"]]), ("texts[0]", "must be a str")),
    Case("a generator", given(lambda table: (text for text in table["text"]))),
    Case("the locale C", printed(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")),
    Case("Windows' western encoding", printed(PYTHONIOENCODING="cp1252")),
    Case("Windows' western encoding, in the message of an error", printed("--threads", "目", PYTHONIOENCODING="cp1252"), ("目",)),
]  # fmt: skip


def outcome(case: Case, folder: Path, said: Callable[[], str] = str) -> str:  # noqa: ARG001 - all tables are asked alike
    """``right``, ``refused``, or what is wrong."""
    copy = folder / "model"
    shutil.copytree(exported(), copy)
    try:
        found = case.ask(copy)
    except (CompressError, TextError) as error:
        return refusal(error, case.refused)
    if case.refused:
        return "answered, not refused"
    return "right" if found == answers(exported()) else f"another answer: {found}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_way_to_serve_is_right_or_refused(case: Case, tmp_path: Path) -> None:
    assert outcome(case, tmp_path) in {"right", "refused"}


def test_each_kind_has_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
