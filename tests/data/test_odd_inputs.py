# ruff: noqa: E501 - a row of the table is a line
"""Odd but real data, a row for each: what is given, and what must come of it. Add a row for each new kind.

A case is right if the data set has the facts that the row names, or if it is refused in one line with the row's words.
The table can be imported: ``CASES`` and :func:`outcome`.
"""

import gzip
import importlib.util
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from compress.config import DataConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.errors import CompressError
from compress.progress import show_held
from tests.odd import refusal

Content = str | bytes | Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One odd input.

    Attributes:
        name: the kind in a few words.
        files: name to content; a function writes the file or folder itself.
        data: the file in the folder to read; the folder itself where empty.
        settings: of DataConfig; ``{}`` in a value stands for the folder.
        refused: words that the error must have; none where the data must be read.
        labels: of the data set.
        task: of the data set.
        first: the first text of the train split.
        rows: of train, validation and test.
        says: words that must be said while it is read.
        needs: a package without which the input is refused by its name.
    """

    name: str
    files: dict[str, Content]
    data: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    task: str = "single_label"
    first: str | None = None
    rows: tuple[int, int, int] | None = None
    says: tuple[str, ...] = ()
    needs: str | None = None


def csv(*labels: str, header: str = "text,label", separator: str = ",", count: int = 40, text: str = "film {}") -> str:
    """Lines of ``count`` different texts, whose labels take turns."""
    rows = [f"{text.format(number)}{separator}{labels[number % len(labels)]}" for number in range(count)]
    return "\n".join([header.replace(",", separator), *rows]) + "\n"


def objects(*labels: Any, count: int = 40, key: str = "label") -> list[dict[str, Any]]:
    return [{"text": f"film {number}", key: labels[number % len(labels)]} for number in range(count)]


def jsonl(*labels: Any, key: str = "label") -> str:
    return "".join(json.dumps(row) + "\n" for row in objects(*labels, key=key))


def parquet(labels: Sequence[Any], feature: Any = None, kind: Any = None) -> Callable[[Path], object]:
    """A Parquet file of texts and ``labels``, noted as ``datasets`` notes ``feature`` where there is one."""

    def write(path: Path) -> None:
        columns: dict[str, list[Any]] = {
            "text": [f"film {number}" for number in range(len(labels))],
            "label": list(labels),
        }
        if feature is None:
            table = pyarrow.table({"text": columns["text"], "label": pyarrow.array(columns["label"], kind)})
            pyarrow.parquet.write_table(table, path)
        else:
            saved(columns, feature).to_parquet(str(path))

    return write


def saved(columns: dict[str, Any], feature: Any) -> datasets.Dataset:
    return datasets.Dataset.from_dict(
        columns, features=datasets.Features({"text": datasets.Value("string"), "label": feature})
    )


def save_to_disk(path: Path) -> None:
    rows = {"text": [f"film {number}" for number in range(40)], "label": [0, 1] * 20}
    saved(rows, CLASSES).save_to_disk(str(path))


def save_without_rows(path: Path) -> None:
    save_to_disk(path)
    next(path.glob("*.arrow")).unlink()


def pictures(path: Path) -> None:
    path.mkdir()
    (path / "a.png").write_bytes(PNG)


def save_dict_to_disk(path: Path) -> None:
    """A DatasetDict beside nothing else: its folder is the data folder itself."""
    rows = {"text": ["a b", "c d"], "label": [0, 1]}
    parts = {name: saved(rows, CLASSES) for name in ("train", "validation", "test")}
    datasets.DatasetDict(parts).save_to_disk(str(path))


def arrow(path: Path) -> None:
    table = pyarrow.table({"text": [f"film {number}" for number in range(40)], "label": ["neg", "pos"] * 20})
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def excel(rows: Sequence[Sequence[Any]], sheets: Sequence[str] = ("Sheet1",)) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        if importlib.util.find_spec("openpyxl") is None:
            path.write_bytes(b"PK")
            return
        import openpyxl

        book = openpyxl.Workbook()
        del book[book.sheetnames[0]]
        for name in sheets:
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
        book.save(path)

    return write


def zstandard(content: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        if importlib.util.find_spec("zstandard") is None:
            path.write_bytes(b"\x28\xb5\x2f\xfd")
            return
        import zstandard as package

        path.write_bytes(package.ZstdCompressor().compress(content.encode()))

    return write


def twins(letters: str, more: str, seed: int = 0) -> str:
    """Texts without blanks, each with a twin that is one character longer."""
    rng = random.Random(seed)
    texts = ["".join(rng.choices(letters, k=30)) for _ in range(60)]
    lines = [f"{text}{end},{row % 2}" for row, text in enumerate(texts) for end in ("", more)]
    return "\n".join(["text,label", *lines]) + "\n"


PLAIN = csv("neg", "pos")
TEST = "text,label\nso it goes,neg\nwell done,pos\n"
CLASSES = datasets.ClassLabel(names=["bad", "good"])
PNG = b"\x89PNG\r\n\x1a\n\x00\x00"
EXCEL = [("text", "label"), *((f"film {number}", ("neg", "pos")[number % 2]) for number in range(40))]
ONE_HOT = "text,joy,fear\n" + "".join(f"film {n},{n % 2},{n // 2 % 2}\n" for n in range(40))
NEG_POS = ("neg", "pos")

SPLIT_FILES = [
    Case("a test file in JSON", {"train.csv": PLAIN, "test.json": json.dumps(objects("neg", count=3))}, rows=(36, 4, 3)),
    Case("a test file in JSON that is JSONL inside", {"train.csv": PLAIN, "test.json": jsonl(*NEG_POS)}, rows=(36, 4, 40)),
    Case("a compressed test file", {"train.csv": PLAIN, "test.csv.gz": gzip.compress(TEST.encode())}, rows=(36, 4, 2)),
    Case("an eval file is the test split, as in datasets", {"train.csv": PLAIN, "eval.csv": TEST}, rows=(36, 4, 2)),
    Case("a hold-out file is the test split", {"train.csv": PLAIN, "hold_out.csv": TEST}, rows=(36, 4, 2)),
    Case("a holdout file is the test split", {"train.csv": PLAIN, "holdout.csv": TEST}, rows=(36, 4, 2)),
    Case("dev.tsv beside CSV", {"train.csv": PLAIN, "dev.tsv": TEST.replace(",", "\t")}, rows=(36, 2, 4)),
    Case("valid.jsonl beside CSV", {"train.csv": PLAIN, "valid.jsonl": jsonl(*NEG_POS)}, rows=(36, 40, 4)),
    Case("split words in camel case", {"trainData.csv": PLAIN, "testSet.csv": TEST}, rows=(36, 4, 2)),
    Case("test and eval both claim the test split", {"train.csv": PLAIN, "test.csv": TEST, "eval.csv": TEST},
         refused=("eval.csv, test.csv", "--test FILE")),
    Case("two formats of one split", {"train.csv": PLAIN, "train.jsonl": jsonl(*NEG_POS)},
         refused=("train.csv, train.jsonl", "--train FILE")),
    Case("a test file in a form that is not read", {"train.csv": PLAIN, "test.xls": b"\xd0\xcf"}, refused=("test.xls",)),
    Case("a zipped test file", {"train.csv": PLAIN, "test.zip": b"PK"}, refused=("test.zip", "test split")),
    Case("a pickled test file", {"train.csv": PLAIN, "test.pkl": b"\x80"}, refused=("test.pkl", "--test FILE")),
    Case("fastText's suffix", {"train.csv": PLAIN, "cooking.valid": "x"}, refused=("cooking.valid", "validation split")),
    Case("a backup of a split", {"train.csv": PLAIN, "test.csv.bak": TEST}, refused=("test.csv.bak",)),
    Case("a folder named like a split", {"train.csv": PLAIN, "test": pictures},
         refused=("/test", "such folders are not read")),
    Case("programs and notes named like a split", {"train.csv": PLAIN, "train.py": "", "test.log": "", "notes.csv": ""},
         rows=(32, 4, 4), says=("not used: notes.csv, test.log, train.py",)),
    Case("the first of two shards is missing", {"train-00001-of-00002.csv": PLAIN}, refused=("missing: 00000", "2")),
    Case("shards with the hub's digest", {"train-00000-of-00002-0a1b2c3d.csv": PLAIN, "train-00001-of-00002-0a1b2c3d.csv": TEST},
         rows=(34, 4, 4)),
    Case("a split that is named twice and chosen", {"train.csv": PLAIN, "eval.csv": TEST, "test.csv": TEST},
         settings={"test": "{}/eval.csv"}, rows=(36, 4, 2), says=("not used: test.csv",)),
    Case("texts of train in test are counted", {"train.csv": PLAIN, "test.csv": PLAIN}, says=("test texts are in train",)),
    Case("a label that test lacks is said", {"train.csv": csv("a", "b", "c"), "test.csv": "text,label\nx y,a\nz y,b\n"},
         says=("no test row has c",)),
]  # fmt: skip

LABELS = [
    Case("1 and 1.0 are one label", {"a.csv": csv("0", "1", "0.0", "1.0")}, "a.csv", labels=("0", "1")),
    Case("1., 01 and -0.0", {"a.csv": csv("1.", "-0.0", "01")}, "a.csv", labels=("0", "01", "1")),
    Case("whole numbers as floats in JSONL", {"a.jsonl": jsonl(0.0, 1, "1.0")}, "a.jsonl", labels=("0", "1")),
    Case("names that Unicode holds to be equal", {"a.csv": csv("caf\u00e9", "cafe\u0301", "x")}, "a.csv", labels=("caf\u00e9", "x")),
    Case("names that differ by case", {"a.csv": csv("Pos", "pos", "neg")}, "a.csv", labels=("Pos", "neg", "pos"),
         says=('"Pos" and "pos" differ only by case',)),
    Case("names that differ by an invisible character", {"a.csv": csv("pos", "pos\u200b", "neg")}, "a.csv", says=('"pos\\u200b"',)),
    Case("names that differ by a blank that does not break", {"a.csv": csv("so so", "so\u00a0so", "neg")}, "a.csv",
         says=('"so\\u00a0so"',)),
    Case("blanks around a name", {"a.csv": csv("pos", " pos", "neg\u00a0", "neg")}, "a.csv", labels=NEG_POS),
    Case("names joined by commas", {"a.csv": csv("joy", '"joy,anger"', "fear")}, "a.csv", labels=("fear", "joy", "joy,anger"),
         says=('"joy,anger" is read as one label', '["joy", "anger"]')),
    Case("fractions in CSV", {"a.csv": csv("0.0", "0.25", "1.5")}, "a.csv", refused=("line 3", "0.25", "whole number")),
    Case("fractions with a decimal comma", {"a.csv": csv("0,0", "0,25", "1,5", separator=";")}, "a.csv", refused=("line 3", "0,25", "whole number")),
    Case("whole numbers with a decimal comma", {"a.csv": csv("0,0", "1,0", "2,00", separator=";")}, "a.csv", labels=("0", "1", "2")),
    Case("thousands with a comma", {"a.csv": csv("1", '"1,000"', '"10,000"')}, "a.csv", labels=("1", "1,000", "10,000")),
    Case("0 and 1 with a decimal comma", {"a.csv": csv("0,0", "1,0", separator=";")}, "a.csv", labels=("0", "1")),
    Case("rows of 0 and 1 with a comma", {"a.csv": csv("0,1", "1,0", separator=";")}, "a.csv", labels=("label_0", "label_1"), task="multi_label"),
    Case("fractions in JSONL", {"a.jsonl": jsonl(1, 0.25)}, "a.jsonl", refused=("line 2", "0.25", "whole number")),
    Case("fractions in Parquet", {"a.parquet": parquet([1.0, 0.25])}, "a.parquet", refused=("row 2", "0.25")),
    Case("whole decimals in Parquet", {"a.parquet": parquet([Decimal("0.00"), Decimal("1.00")] * 20)}, "a.parquet", labels=("0", "1")),
    Case("decimals in Parquet", {"a.parquet": parquet([Decimal("1.00"), Decimal("0.25")])}, "a.parquet", refused=("row 2", "0.25")),
    Case("small fractions in science's notation", {"a.csv": csv("1", "2.5e-3")}, "a.csv", refused=("2.5e-3",)),
    Case("truth values of pandas and of Excel", {"a.csv": csv("True", "FALSE", "false")}, "a.csv", labels=("false", "true")),
    Case("truth values in JSONL", {"a.jsonl": jsonl(True, False)}, "a.jsonl", labels=("false", "true")),
    Case("words for nothing in JSONL", {"a.jsonl": jsonl("None", "NA", "null")}, "a.jsonl", labels=("NA", "None", "null")),
    Case("truth values in Parquet", {"a.parquet": parquet([True, False] * 20)}, "a.parquet", labels=("false", "true")),
    Case("dictionary-encoded names in Parquet", {"a.parquet": parquet(["x", "y"] * 20, kind=pyarrow.dictionary(pyarrow.int8(), pyarrow.string()))},
         "a.parquet", labels=("x", "y")),
    Case("class names in Parquet's metadata", {"a.parquet": parquet([0, 1] * 20, CLASSES)}, "a.parquet", labels=("bad", "good")),
    Case("lists of classes in Parquet's metadata", {"a.parquet": parquet([[0], [0, 1], []] * 14, datasets.List(CLASSES))},
         "a.parquet", labels=("bad", "good"), task="multi_label"),
    Case("indicators with names in Parquet's metadata", {"a.parquet": parquet([[1, 0, 1], [0, 1, 1]] * 20, datasets.List(datasets.ClassLabel(names=["x", "y", "z"])))},
         "a.parquet", labels=("x", "y", "z"), task="multi_label"),
    Case("one label withheld among others", {"a.parquet": parquet([0, 1, -1, 1], CLASSES)}, "a.parquet", refused=("row 3", "missing")),
    Case("all labels of test withheld", {"train.csv": csv("bad", "good"), "test.parquet": parquet([-1, -1], CLASSES)},
         rows=(32, 4, 4), says=("has no labels",)),
    Case("all labels of test are -1 in CSV", {"train.csv": csv("0", "1"), "test.csv": "text,label\nx y,-1\nz,-1\n"},
         rows=(32, 4, 4), says=("has no labels",)),
    Case("a blank label column in test", {"train.csv": PLAIN, "test.csv": "text,label\nx y,\nz,\n"}, rows=(32, 4, 4)),
    Case("rows of 0 and 1 in JSONL", {"a.jsonl": jsonl([0.0, 1.0, 0.0], [1, 0, 1], [0, 0, 0], key="labels")}, "a.jsonl",
         labels=("label_0", "label_1", "label_2"), task="multi_label"),
    Case("rows of 0 and 1 in CSV", {"a.csv": csv('"[0, 1]"', '"[1, 1]"')}, "a.csv", labels=("label_0", "label_1"), task="multi_label"),
    Case("rows of 0 and 1 as numpy prints them", {"a.csv": csv("[0. 1.]", "[1. 1.]")}, "a.csv", labels=("label_0", "label_1"), task="multi_label"),
    Case("rows of 0 and 1 without brackets", {"a.csv": csv("0 1 1", "1 0 0")}, "a.csv", labels=("label_0", "label_1", "label_2"), task="multi_label"),
    Case("rows of truth values", {"a.jsonl": jsonl([True, False], [False, True])}, "a.jsonl", labels=("label_0", "label_1"), task="multi_label"),
    Case("a column of 0 that no row has", {"a.jsonl": jsonl([0, 1, 0], [1, 0, 0])}, "a.jsonl", refused=("label_2", "learn from")),
    Case("rows of 0 and 1 of different lengths", {"a.jsonl": jsonl([0, 1, 0], [1, 1])}, "a.jsonl", refused=("different lengths",)),
    Case("rows of 0 and 1 that are longer in test", {"train.jsonl": jsonl([0, 1], [1, 0]), "test.jsonl": jsonl([0, 1, 1])},
         refused=("test.jsonl, line 1", "2 numbers")),
    Case("one number in brackets", {"a.csv": csv("[0]", "[1]")}, "a.csv", refused=("without brackets",)),
    Case("lists of class numbers", {"a.jsonl": jsonl([0], [0, 2], [])}, "a.jsonl", labels=("0", "2"), task="multi_label"),
    Case("indicator columns that are named", {"a.csv": ONE_HOT}, "a.csv", {"label": ["joy", "fear"]}, labels=("fear", "joy"), task="multi_label"),
    Case("indicator columns that nobody named", {"a.csv": ONE_HOT}, "a.csv", refused=("--label joy --label fear",)),
    Case("an indicator column that is named twice", {"a.csv": ONE_HOT}, "a.csv", {"label": ["joy", "fear", "joy"]}, refused=('--label: column "joy" is named twice',)),
    Case("a text column that is named twice", {"a.csv": PLAIN}, "a.csv", {"text": ["text", "text"]}, refused=('--text: column "text" is named twice',)),
    Case("an indicator column with a 2", {"a.csv": ONE_HOT + "film,2,0\n"}, "a.csv", {"label": ["joy", "fear"]},
         refused=("line 42", '"joy"', "0 or 1")),
    Case("a line break in a name", {"a.jsonl": jsonl("a\nb", "c\td")}, "a.jsonl", labels=("a b", "c d"), says=("line 1", "line break")),
    Case("numbers with more digits than Python reads", {"a.jsonl": '{"text": "a", "label": ' + "9" * 5000 + "}\n"}, "a.jsonl", refused=("line 1",)),
    Case("many unknown labels are cut at five", {"train.csv": csv(*"abcdefghij"), "test.csv": "text,label\nx,zz\n"},
         refused=('"zz"', "a, b, c, d, e and 5 more")),
    Case("a label for each row", {"a.csv": csv(*(f"id{number}" for number in range(40)))}, "a.csv",
         refused=("40 different texts", "0 of 40 labels")),
    Case("two columns could be the label", {"a.csv": "text,category,label\n" + "".join(f"f {n},x{n % 2},y{n % 2}\n" for n in range(40))},
         "a.csv", labels=("y0", "y1"), says=('read from column "label"', "--label category")),
    Case("one column as text and label", {"a.csv": PLAIN}, "a.csv", {"text": ["text"], "label": ["text"]}, refused=("text and label",)),
]  # fmt: skip

READERS = [
    Case("an array of objects", {"a.json": json.dumps(objects(*NEG_POS))}, "a.json", labels=NEG_POS, first="film 0"),
    Case("rows under data", {"a.json": json.dumps({"version": 1, "data": objects(*NEG_POS)})}, "a.json", labels=NEG_POS),
    Case("pandas' JSON by columns", {"a.json": json.dumps({name: {str(n): row[name] for n, row in enumerate(objects(*NEG_POS))} for name in ("text", "label")})},
         "a.json", labels=NEG_POS),
    Case("JSON columns as lists", {"a.json": json.dumps({"text": ["a b"] * 4, "label": ["x"] * 3})}, "a.json", refused=("rows are needed",)),
    Case("JSON that is no table", {"a.json": "[1, 2]"}, "a.json", refused=("row 1", "1")),
    Case("JSON that ends early", {"a.json": '[{"text": "a"'}, "a.json", refused=("not JSON",)),
    Case("gzip that ends early", {"a.csv.gz": gzip.compress(PLAIN.encode())[:-20]}, "a.csv.gz", refused=("gzip",)),
    Case("JSONL in Zstandard", {"a.jsonl.zst": zstandard(jsonl(*NEG_POS))}, "a.jsonl.zst", labels=NEG_POS, needs="zstandard"),
    Case("Zstandard that is none", {"a.csv.zst": b"plain"}, "a.csv.zst", refused=("Zstandard",), needs="zstandard"),
    Case("an Excel sheet", {"a.xlsx": excel(EXCEL)}, "a.xlsx", labels=NEG_POS, first="film 0", needs="openpyxl"),
    Case("an Excel sheet with empty rows", {"a.xlsx": excel([*EXCEL, (None, None)])}, "a.xlsx", labels=NEG_POS, needs="openpyxl"),
    Case("an Excel workbook of two sheets", {"a.xlsx": excel(EXCEL, ("one", "two"))}, "a.xlsx", says=("sheet one is read", "two"), needs="openpyxl"),
    Case("a damaged Excel file", {"a.xlsx": b"PK\x03\x04"}, "a.xlsx", refused=("not an Excel workbook",), needs="openpyxl"),
    Case("an Arrow file", {"a.arrow": arrow}, "a.arrow", labels=NEG_POS),
    Case("save_to_disk of one split", {"d": save_to_disk}, "d", labels=("bad", "good")),
    Case("save_to_disk of all splits", {"d": save_dict_to_disk}, "d", labels=("bad", "good"), rows=(2, 2, 2)),
    Case("save_to_disk without its rows", {"d": save_without_rows}, "d", refused=("save_to_disk",)),
    Case("semicolons", {"a.csv": csv(*NEG_POS, separator=";", text="well, film {}")}, "a.csv", first="well, film 0"),
    Case("tabs under the name of CSV", {"a.csv": csv(*NEG_POS, separator="\t", text="well, film {}")}, "a.csv", first="well, film 0"),
    Case("commas under the name of TSV", {"a.tsv": PLAIN}, "a.tsv", first="film 0"),
    Case("Excel's line that names the separator", {"a.csv": "sep=;\r\n" + csv(*NEG_POS, separator=";")}, "a.csv", labels=NEG_POS),
    Case("unnamed empty columns", {"a.csv": "".join(f"{line},,,\n" for line in PLAIN.splitlines())}, "a.csv", labels=NEG_POS),
    Case("unnamed columns with something in them", {"a.csv": "text,label,,\nso,x,it goes,\n" + PLAIN.replace("\n", ",,\n").partition("\n")[2]},
         "a.csv", says=("line 2", "no name")),
    Case("pandas' row numbers", {"a.csv": "".join(f"{n if n else ''},{line}\n" for n, line in enumerate(PLAIN.splitlines()))}, "a.csv", labels=NEG_POS),
    Case("empty fields behind the last column", {"a.csv": PLAIN + "more,pos,,\n"}, "a.csv", labels=NEG_POS),
    Case("quotes that pandas writes in TSV", {"a.tsv": csv(*NEG_POS, separator="\t", text='"he said ""film {}"""')}, "a.tsv", first='he said "film 0"'),
    Case("a line break that pandas quotes in TSV", {"a.tsv": csv(*NEG_POS, separator="\t") + '"two\nlines"\tpos\n'}, "a.tsv", labels=NEG_POS),
    Case("quotes that are text in TSV", {"a.tsv": csv(*NEG_POS, separator="\t", text='"film {}" he said')}, "a.tsv", first='"film 0" he said'),
    Case("quotes that nobody closes, between tabs", {"a.txt": csv(*NEG_POS, separator="\t", text='"film {}')}, "a.txt", first='"film 0'),
    Case("every field quoted in TSV", {"a.tsv": csv('"neg"', '"pos"', header='"text","label"', separator="\t", text='"film {}"')}, "a.tsv", first="film 0"),
    Case("an old Macintosh's line ends", {"a.csv": PLAIN.replace("\n", "\r")}, "a.csv", labels=NEG_POS),
    Case("an old Macintosh's line ends in TSV", {"a.tsv": csv(*NEG_POS, separator="\t").replace("\n", "\r")}, "a.tsv", labels=NEG_POS),
    Case("UTF-16 with its mark", {"a.csv": PLAIN.encode("utf-16")}, "a.csv", first="film 0"),
    Case("UTF-32 with its mark", {"a.jsonl": jsonl(*NEG_POS).encode("utf-32")}, "a.jsonl", first="film 0"),
    Case("UTF-16 without a mark", {"a.csv": PLAIN.encode("utf-16-le")}, "a.csv", refused=("--encoding utf-16-le",)),
    Case("UTF-16 without a mark, named", {"a.csv": PLAIN.encode("utf-16-le")}, "a.csv", {"encoding": "utf-16-le"}, first="film 0"),
    Case("Windows' western encoding", {"a.csv": csv(*NEG_POS, text="it\u2019s {}").encode("cp1252")}, "a.csv", refused=("line 2", "0x92", "--encoding")),
    Case("Windows' western encoding, named", {"a.csv": csv(*NEG_POS, text="it\u2019s {}").encode("cp1252")}, "a.csv", {"encoding": "cp1252"}, first="it\u2019s 0"),
    Case("Chinese encoding, named", {"a.csv": csv(*NEG_POS, text="\u597d\u7535\u5f71{}").encode("gbk")}, "a.csv", {"encoding": "gbk"}, first="\u597d\u7535\u5f710"),
    Case("another encoding than the file has", {"a.csv": csv(*NEG_POS, text="it\u2019s {}").encode("cp1252")}, "a.csv", {"encoding": "latin-1"},
         says=("control characters",)),
    Case("an encoding that is none", {"a.csv": PLAIN}, "a.csv", {"encoding": "klingon"}, refused=("klingon",)),
    Case("a codec that is no text encoding", {"a.csv": PLAIN}, "a.csv", {"encoding": "hex"}, refused=("hex",)),
    Case("a Git LFS pointer", {"a.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"}, "a.csv", refused=("git lfs pull",)),
    Case("a web page", {"a.csv": "<!DOCTYPE html>\n<html>"}, "a.csv", refused=("web page",)),
    Case("Parquet under the name of CSV", {"a.csv": b"PAR1\x15"}, "a.csv", refused=(".parquet",)),
    Case("gzip under the name of CSV", {"a.csv": gzip.compress(b"x")}, "a.csv", refused=("add .gz",)),
    Case("Excel under the name of CSV", {"a.csv": b"PK\x03\x04"}, "a.csv", refused=(".xlsx",)),
    Case("a picture under the name of CSV", {"a.csv": PNG}, "a.csv", refused=("UTF-8",)),
    Case("Chinese twins stay on one side", {"a.csv": twins("人主多而产不我和分于就工生面上有一学后地年种的下以子个发民时会", "吧")}, "a.csv"),
    Case("Japanese twins stay on one side", {"a.csv": twins("あいうえおかきくけこさしすせそたちつてと日本語映画", "ね")}, "a.csv"),
    Case("Thai twins stay on one side", {"a.csv": twins("กขคงจชซดตทนบปผพมยรลวสหอาิีุูเแโไ่้", "ๆ")}, "a.csv"),
    Case("Khmer twins stay on one side", {"a.csv": twins("កខគឃងចឆជឈញដឋឌឍណតថទធនបផពភមយរលវសហឡអាិី", "ៗ")}, "a.csv"),
]  # fmt: skip

CASES = [*SPLIT_FILES, *LABELS, *READERS]


def read(case: Case, folder: Path) -> Dataset:
    """Write the case's files and read them."""
    for name, content in case.files.items():
        if callable(content):
            content(folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def located(value: Any) -> Any:
        return value.replace("{}", str(folder)) if isinstance(value, str) else value

    settings = {name: located(value) for name, value in case.settings.items()}
    dataset = read_dataset(DataConfig.parse({"data": str(folder / case.data), **settings}))
    show_held()
    return dataset


def differences(case: Case, dataset: Dataset, said: str) -> list[str]:
    """Where the data set is not as the case has it."""
    rows = (len(dataset.train), len(dataset.validation), len(dataset.test))
    found: dict[str, Any] = {
        "task": dataset.task,
        "labels": dataset.labels,
        "first": dataset.train.texts[0],
        "rows": rows,
    }
    if "twins" in case.name:
        sides = [
            {str(text)[:30] for text in split.texts} for split in (dataset.train, dataset.validation, dataset.test)
        ]
        found["shared"] = sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    wanted = {name: getattr(case, name) for name in ("task", "labels", "first", "rows")} | {"shared": set()}
    wrong = [f"{name}: {value}" for name, value in found.items() if wanted[name] not in (None, value)]
    return wrong + [f"not said: {words}" for words in case.says if words not in said]


def outcome(case: Case, folder: Path, said: Callable[[], str]) -> str:
    """``right``, ``refused``, or what is wrong; ``said`` gives what was printed meanwhile."""
    lacking = case.needs is not None and importlib.util.find_spec(case.needs) is None
    words = (str(case.needs), "pip install") if lacking else case.refused
    try:
        dataset = read(case, folder)
    except CompressError as error:
        return refusal(error, words)
    wrong = ["read, not refused"] if words else differences(case, dataset, said())
    return "; ".join(wrong) or "right"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_odd_input_is_read_right_or_refused(case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(case, tmp_path, lambda: capsys.readouterr().err) in {"right", "refused"}


def test_each_kind_has_one_name() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 45
