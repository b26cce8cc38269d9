"""What is fuzzed: for each kind of file real ones of ours, changed, and what reads them."""

import gzip
import io
import json
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pyarrow
import pyarrow.parquet
import yaml

import compress
from compress.bulk.journal import open_journal
from compress.config import DataConfig
from compress.data.read import read_dataset
from compress.distillation.teacher_cache.shard import is_sound
from compress.durable import read_sealed, write_sealed
from compress.errors import CompressError
from compress.folder import MANIFEST, SEARCH, read_manifest, write_manifest
from compress.latency.table import read_timings
from compress.machine import is_installed
from compress.recipes.recipe import Recipe, read_recipe
from compress.recipes.run import RunState
from compress.tuning.record import SearchRecord, check_folder
from compress.tuning.tries import Try
from tests.fuzz.mutate import mutated_bytes, mutated_value
from tests.tiny import STORED_RUN

Case = Callable[[random.Random, Path], None]
"""Try one case, drawn from the generator, in an empty folder; whatever it raises but CompressError has escaped."""

TEXTS = ["a superb film", "", "it is a good day " * 20, "\u4eba \u0130 \0"]
ROWS = [(f"{word} film {number}", ("bad", "good")[number % 2]) for number, word in enumerate(("dull", "fine") * 6)]
VALUES = [{"text": text, "label": label, "id": None} for text, label in ROWS]
CSV = b"text,label,id\n" + b"".join(
    f'"{text}, ""really""",{label},{number}\n'.encode() for number, (text, label) in enumerate(ROWS)
)
TSV = b"text\tlabel\n" + b"".join(f"{text}\t{label}\n".encode() for text, label in ROWS)
ENCODINGS = ("cp1252", "utf-16", "utf-7", "idna", "punycode", "rot13", "big5")
RECIPE: dict[str, Any] = {
    "data": {"data": "texts.csv", "text": ["question", "answer"], "label": "topic"},
    "seed": 3,
    "steps": {
        "teacher": {"step": "finetune", "model": "bert-base-uncased", "epochs": 2, "learning_rate": 5e-5},
        "student": {
            "step": "distill",
            "teacher": "teacher",
            "layers": [0, 2],
            "loss": "json.dumps",
            "unlabeled": "more.txt",
        },
        "pruned": {"step": "prune", "model": "student", "heads": 0.5, "speedup": None},
        "onnx": {"step": "export", "model": "pruned", "for": "tei"},
        "int8": {"step": "quantize", "model": "onnx", "max_drop": 1},
        "report": {"step": "bench", "models": ["teacher", "int8"], "batch": [1, 8], "seconds": 0.1},
    },
}


def refused_in_one_line(act: Callable[[], object]) -> None:
    """Whether ``act`` is done or refused, all is well; a refusal of several lines is not."""
    try:
        act()
    except CompressError as error:
        if "\n" in str(error) or not str(error):
            raise AssertionError(f"a message of several lines: {str(error)!r:.200}") from None


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _jsonl(value: Any) -> bytes:
    return b"\n".join(map(_json, value if isinstance(value, list) else [value]))


def _arrow(write: Callable[[pyarrow.Table, io.BytesIO], None]) -> bytes:
    file = io.BytesIO()
    write(pyarrow.Table.from_pylist(VALUES), file)
    return file.getvalue()


def _write_arrow(table: pyarrow.Table, file: io.BytesIO) -> None:
    with pyarrow.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _xlsx() -> bytes:
    import openpyxl

    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in [("text", "label"), *ROWS]:
        book.worksheets[0].append(row)
    book.save(file)
    return file.getvalue()


def _zst() -> bytes:
    import zstandard

    return bytes(zstandard.compress(CSV))


def _data(suffix: str, content: bytes, write: Callable[[Any], bytes] | None = None) -> Case:
    """A file of texts with changed bytes, or where ``write`` is given what it makes of rows with changed values."""

    def case(rng: random.Random, folder: Path) -> None:
        path = folder / f"train.{suffix}"
        changed = write is not None and rng.random() < 0.5
        path.write_bytes(write(mutated_value(VALUES, rng)) if write and changed else mutated_bytes(content, rng))
        columns = rng.choice(
            [{}, {}, {"text": ["text"]}, {"label": ["label"]}, {"text": ["text"], "label": ["id", "label"]}]
        )
        encoding = rng.choice(ENCODINGS) if rng.random() < 0.5 else None
        refused_in_one_line(lambda: _read({"data": str(path), "encoding": encoding, **columns}))

    return case


def _read(settings: Mapping[str, Any]) -> None:
    labels = read_dataset(DataConfig.parse(settings)).labels
    assert len(labels) >= 2
    assert not any(mark in label for label in labels for mark in "\t\r\n\u2028\u2029")


def _recipe(rng: random.Random, folder: Path) -> None:
    path = folder / f"recipe.{rng.choice(['yaml', 'yaml', 'yaml', 'toml'])}"
    value = RECIPE if rng.random() < 0.2 else mutated_value(RECIPE, rng, text_keys=False)
    text = yaml.dump(value, sort_keys=False, allow_unicode=True).encode(errors="replace")
    path.write_bytes(mutated_bytes(text, rng) if rng.random() < 0.5 or value is RECIPE else text)
    refused_in_one_line(lambda: read_recipe(path))
    if isinstance(value, dict):  # from Python, without a file
        refused_in_one_line(lambda: Recipe.parse(value))


def _manifest(rng: random.Random, folder: Path) -> None:
    shutil.copytree(STORED_RUN / "onnx", folder, dirs_exist_ok=True)
    _change_manifest(folder / MANIFEST, rng)
    refused_in_one_line(lambda: read_manifest(folder))


def _search(rng: random.Random, folder: Path) -> None:
    """What a search remembers, changed."""
    about = {"model": "m", "seed": 0}
    record = SearchRecord(folder, about, {})
    record.begin()
    record.add(Try("cut-2x", 3, ms_ci95=(0.1, 0.2)))
    path = folder / SEARCH
    text = json.dumps(mutated_value(json.loads(path.read_bytes()), rng)).encode()
    path.write_bytes(mutated_bytes(text, rng) if rng.random() < 0.3 else text)

    def go_on() -> None:
        check_folder(folder, ())
        SearchRecord(folder, about, {"max_drop": 1}).begin()

    refused_in_one_line(go_on)


def _go_on_with_answers(folder: Path) -> None:
    with open_journal(folder / "answers", _ORIGIN, overwrite=False) as journal:
        list(journal.answers())


_ORIGIN = {"model": "m", "columns": ["text", "label"]}
_KEPT: list[tuple[str, Any, Callable[[Path], object]]] = [
    (
        "run.json",
        {"format_version": 1, "steps": {"teacher": {"fingerprint": "0", "output": "1"}}},
        lambda folder: RunState(folder, forget=False).is_fresh("teacher", "0"),
    ),
    (
        "timings.json",
        {"timings": [{"heads": [2], "neurons": [32], "ratio": 0.5, "whole_ms": 1.0}]},
        lambda folder: read_timings(folder / "timings.json"),
    ),
    ("shard.json", {"index": 0, "logits": 1}, lambda folder: is_sound(folder, "index")),
    ("answers", [_ORIGIN | {"rows": 3}, ["bad", 0.5], ["good", 0.9]], _go_on_with_answers),
]


def _kept(rng: random.Random, folder: Path) -> None:
    """What commands keep for their next start, changed: it is taken up as far as it goes, or made again."""
    name, content, take_up = rng.choice(_KEPT)
    value = mutated_value(content, rng)
    text = "".join(f"{json.dumps(line)}\n" for line in (value if isinstance(value, list) else [value])).encode()
    (folder / name).write_bytes(mutated_bytes(text, rng) if rng.random() < 0.5 else text)
    (folder / "index.npy").write_bytes(b"an array")
    refused_in_one_line(lambda: take_up(folder))


def _change_manifest(path: Path, rng: random.Random) -> None:
    raw = mutated_value(read_sealed(path, required=False), rng)
    kind = rng.random()
    if kind < 0.3:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))
    elif kind < 0.6 and isinstance(raw, dict) and raw:
        write_sealed(path, raw)
    else:
        path.write_text(json.dumps(raw), encoding="utf-8")


def _load(rng: random.Random, folder: Path) -> None:
    """A folder whose digests are right, as a hostile one's are, or a manifest that is changed itself."""
    source = STORED_RUN / rng.choice(["onnx", "int8"])
    shutil.copytree(source, folder, dirs_exist_ok=True)
    manifest = read_manifest(folder)
    kind = rng.random()
    if kind < 0.15:
        _change_manifest(folder / MANIFEST, rng)
    else:
        graph = next(folder.glob("onnx/*.onnx"))
        if kind < 0.4:
            graph.write_bytes(mutated_bytes(graph.read_bytes(), rng))
        elif kind < 0.7:
            graph.write_bytes(_mutated_graph(graph, rng))
        elif kind < 0.9:
            _change_json(folder / "tokenizer.json", rng)
        else:
            _change_json(folder / "config.json", rng)
        limit = rng.choice([manifest.max_length, manifest.max_length, 4, 2**31 - 1])
        write_manifest(folder, replace(manifest, max_length=limit))
    refused_in_one_line(lambda: compress.load(folder, threads=1)(TEXTS))


def _change_json(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.3:
        path.write_bytes(mutated_bytes(path.read_bytes(), rng))
    else:
        path.write_text(json.dumps(mutated_value(json.loads(path.read_bytes()), rng)), encoding="utf-8")


def _mutated_graph(path: Path, rng: random.Random) -> bytes:
    """A graph that is a whole ONNX file still, with one to three of its parts changed."""
    model = onnx.load(path)
    for _ in range(rng.randint(1, 3)):
        rng.choice([_change_node, _change_weight, _change_outside])(model, rng)
    return bytes(model.SerializeToString())


def _change_node(model: onnx.ModelProto, rng: random.Random) -> None:
    node, other = rng.choice(model.graph.node), rng.choice(model.graph.node)
    match rng.randrange(6):
        case 0:
            node.op_type = other.op_type
        case 1:
            node.input[rng.randrange(len(node.input))] = rng.choice([*other.input, *other.output])
        case 2:
            node.attribute.extend(list(other.attribute))
        case 3:
            node.ClearField("attribute")
        case 4:
            for each in node.attribute:
                each.i = rng.choice([-1, 0, 3, 2**40])
        case _:
            model.graph.node.remove(node)


def _change_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(3):
        case 0 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice([-1, 0, 1, 2**20, 2**62])
        case 1:
            tensor.data_type = rng.randint(0, 24)
        case _:
            tensor.raw_data = mutated_bytes(tensor.raw_data, rng)


def _change_outside(model: onnx.ModelProto, rng: random.Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output]).type.tensor_type
    match rng.randrange(3):
        case 0:
            value.elem_type = rng.randint(0, 24)
        case 1:
            value.shape.dim.add()
        case _:
            rng.choice(model.opset_import).version = rng.choice([-1, 1, 9, 13, 99])


KINDS: dict[str, Case] = {
    "csv": _data("csv", CSV),
    "tsv": _data("tsv", TSV),
    "jsonl": _data("jsonl", _jsonl(VALUES), _jsonl),
    "json": _data("json", _json(VALUES), _json),
    "parquet": _data("parquet", _arrow(pyarrow.parquet.write_table)),
    "arrow": _data("arrow", _arrow(_write_arrow)),
    "gz": _data("csv.gz", gzip.compress(CSV, mtime=0)),
    "recipe": _recipe,
    "manifest": _manifest,
    "load": _load,
    "search": _search,
    "kept": _kept,
}
if is_installed("openpyxl"):
    KINDS["xlsx"] = _data("xlsx", _xlsx())
if is_installed("zstandard"):
    KINDS["zst"] = _data("csv.zst", _zst())
