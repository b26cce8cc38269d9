"""What a model's files make onnxruntime and tokenizers do is an answer or one line, never the end of the process."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

import compress
from compress.errors import CompressError
from compress.folder import MANIFEST, read_manifest, write_manifest
from compress.runtime.graph_file import FP32_GRAPH, check_graph
from tests.tiny import STORED_RUN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(STORED_RUN / "onnx", tmp_path / "model")
    return tmp_path / "model"


def change_graph(folder: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    manifest, model = read_manifest(folder), onnx.load(folder / FP32_GRAPH)
    change(model)
    onnx.save(model, folder / FP32_GRAPH)
    write_manifest(folder, manifest)


def change_tokenizer(folder: Path, change: Callable[[Any], object]) -> None:
    path, manifest = folder / "tokenizer.json", read_manifest(folder)
    raw = json.loads(path.read_bytes())
    change(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
    write_manifest(folder, manifest)


def int32_inputs(model: onnx.ModelProto) -> None:
    """As other exporters write them; inside they are int64 again."""
    for value in model.graph.input:
        value.type.tensor_type.elem_type = onnx.TensorProto.INT32
        cast = onnx.helper.make_node("Cast", [value.name], [f"{value.name}.int64"], to=onnx.TensorProto.INT64)
        for node in model.graph.node:
            for at, name in enumerate(node.input):
                if name == value.name:
                    node.input[at] = f"{value.name}.int64"
        model.graph.node.insert(0, cast)


def test_a_graph_that_reads_other_numbers_is_one_line(folder: Path) -> None:
    change_graph(folder, int32_inputs)
    with pytest.raises(CompressError, match=rf"{FP32_GRAPH}: onnxruntime .* cannot answer 1 x \d+ tokens \(.*int32"):
        compress.load(folder, threads=1)("a good film")


def test_tokens_beyond_the_table_are_one_line(folder: Path) -> None:
    def renumber(raw: Any) -> None:
        raw["model"]["vocab"] = {word: 10_000 + number for word, number in raw["model"]["vocab"].items()}

    change_tokenizer(folder, renumber)
    with pytest.raises(CompressError, match=rf"{FP32_GRAPH}: onnxruntime .* \(.*out of data bounds.*\); make or copy"):
        compress.load(folder, threads=1)("a good film")


def test_a_panic_of_tokenizers_is_one_line(folder: Path) -> None:
    change_tokenizer(folder, lambda raw: raw["post_processor"]["special_tokens"].clear())
    with pytest.raises(CompressError, match=r"tokenizer.json: is no tokenizer|the tokenizer cannot read a text \("):
        compress.load(folder, threads=1)("a good film")


def test_a_word_that_the_tokenizer_has_no_token_for_is_one_line(folder: Path) -> None:
    change_tokenizer(folder, lambda raw: raw["model"].update(unk_token="[NONE]"))
    with pytest.raises(CompressError, match=r"the tokenizer cannot read a text \(WordPiece error: Missing"):
        compress.load(folder, threads=1)("\u4eba")


@pytest.mark.parametrize("model", ["onnx", "int8"])
def test_a_text_without_tokens_has_an_answer_of_its_own(model: str, tmp_path: Path) -> None:
    """Without special tokens an empty text has none; a batch of none ended the process."""
    folder = tmp_path / "model"
    shutil.copytree(STORED_RUN / model, folder)
    change_tokenizer(folder, lambda raw: raw.update(post_processor=None))
    with compress.load(folder, threads=1, batch_tokens=1000) as classifier:
        alone = classifier.logits("")
        assert alone == pytest.approx(classifier.logits(["", "a good film"])[0], abs=1e-5 if model == "onnx" else 0.5)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 2_000_000,  # one number without an end
        b"\x08\x01" * 1_000_000,  # fields of the model
        b"\x08\x08\x3a" + bytes([0x80, 0x89, 0x7A]) + b"\x0a\x00" * 1_000_000,  # empty nodes
    ],
)
def test_a_hostile_graph_costs_little(content: bytes, tmp_path: Path) -> None:
    """Against a graph of a hundredth of its size, read by plain counting: the cost does not grow with its square."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    spent_s, counted_s = [], []
    for _ in range(3):  # the quickest counts: other processes slow down single ones
        before = time.process_time()
        with pytest.raises(CompressError, match="not a whole ONNX file"):
            check_graph(path)
        spent_s.append(time.process_time() - before)
        before = time.process_time()
        assert sum(1 for _ in content) == len(content)
        counted_s.append(time.process_time() - before)
    assert min(spent_s) < 50 * min(counted_s)  # with its square it would be millions of times


@pytest.mark.parametrize("length", [2**31, 2**64, 1e300])
def test_a_length_that_no_tokenizer_takes_is_refused(length: float, folder: Path) -> None:
    raw = json.loads((folder / MANIFEST).read_bytes()) | {"max_length": length}
    (folder / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(CompressError, match=r"max_length is .*, not a whole number from 4 to 2147483647"):
        compress.load(folder)
