"""Which backends run which models, what is left out and why."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import compress
from compress import folder
from compress.benchmark.measure import bench
from compress.benchmark.model_server import ModelServer
from compress.benchmark.model_worker import ModelWorker
from compress.benchmark.report.page import as_html
from compress.benchmark.rows import Row, open_row, plan
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.families.family import Family
from compress.machine import is_installed
from compress.modeling.checkpoint import save_checkpoint
from compress.runtime.encoding import Feeds, pad
from compress.runtime.predictor import BATCH_TOKENS, Predictor
from tests.benchmark.test_bench import TEST
from tests.families.models import make_model
from tests.processes import forget, in_fork
from tests.tiny import make_bert, make_checkpoint


def feeds_of(predictor: Predictor, *words: int) -> Feeds:
    """A padded batch of texts of so many words."""
    return pad(predictor.encoder([" ".join(["good"] * count) for count in words]))


def rows(models: dict[str, Path], **settings: object) -> tuple[list[tuple[str, str | None]], dict[str, str]]:
    found, left_out = plan(models, BenchConfig.parse(settings))
    return [(name, row.backend) for name, row in found.items()], left_out


def test_each_model_has_a_row_for_each_backend_that_fits_it(tiny_torch: Path, tiny_onnx: Path) -> None:
    models = {"teacher": tiny_torch, "onnx": tiny_onnx}
    assert rows(models) == ([("teacher", None), ("onnx", None)], {})
    found, left_out = rows(models, backends="torch,torch-bf16,onnxruntime")
    assert found == [("teacher torch", "torch"), ("teacher torch-bf16", "torch-bf16"), ("onnx", "onnxruntime")]
    assert left_out == {}
    found, left_out = rows(models, backends="torch-bf16")
    assert found == [("teacher", "torch-bf16")]
    assert left_out == {"onnx": "it is an ONNX model, and bench.backends has only torch-bf16"}


@pytest.mark.parametrize(
    ("settings", "flags"),
    [({"batch": [4]}, "--batch"), ({"length": [8], "batch": [4]}, "--batch, --length"), ({}, None)],
)
def test_a_cascade_is_left_out_where_it_has_no_answer_and_only_what_was_given_is_named(
    settings: dict[str, object], flags: str | None, tiny_onnx: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_onnx, tmp_path / "joined")
    manifest = folder.read_manifest(tiny_onnx)
    folder.write_manifest(tmp_path / "joined", replace(manifest, decision={"hand_on_below": 0.9}))
    _, left_out = rows({"onnx": tiny_onnx, "joined": tmp_path / "joined"}, **settings)
    reason = f"it is a cascade, which runs on a CPU and reads texts, not tokens; leave out {flags}"
    assert left_out == ({"joined": reason} if flags else {})


def test_a_name_without_a_folder_may_be_a_hub_id_or_the_demos_model(tmp_path: Path) -> None:
    for name in ("distilbert-no-folder", "demo:minilm"):
        assert rows({"one": Path(name)}) == ([("one", None)], {})
    with pytest.raises(CompressError, match="no such folder"):
        rows({"one": tmp_path / "absent"})


def test_a_layout_for_servers_is_left_out_whatever_the_backends(
    tiny_torch: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    compress.export(tiny_onnx, tmp_path / "tei", for_="tei")
    for backends in ((), ("torch",), ("torch", "onnxruntime")):
        found, left_out = rows({"teacher": tiny_torch, "tei": tmp_path / "tei"}, backends=list(backends))
        assert {name for name, _ in found} == {"teacher"}
        assert "laid out for others (tei)" in left_out["tei"]


def test_a_worker_imports_a_runtime_only_on_the_clock() -> None:
    """``load_ms`` holds the import of onnxruntime as it holds that of PyTorch."""
    told = "import sys, compress.benchmark.model_server; print({'onnxruntime', 'torch'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


SERVED = """
import json, sys
from compress.benchmark.model_server import ModelServer
server = ModelServer(1, sys.argv[1], backend=None, device="cpu", provider="CPU")
server.first_answer("good")
server.logits(["good", "bad film"])
server.prepare(["good", "bad film"], 1, "real")
server.turn(2, 0.0)
peak = server.cost()["peak_memory_bytes"]
print(json.dumps(["torch" in sys.modules, "onnxruntime" in sys.modules, peak]))
"""


def served(model: Path) -> list[Any]:
    """What a fresh process tells."""
    told = subprocess.run([sys.executable, "-c", SERVED, str(model)], capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(told.stdout)
    return found


@pytest.mark.usefixtures("forked_workers")
def test_a_worker_for_onnx_loads_no_pytorch(tiny_torch: Path, tiny_onnx: Path) -> None:
    """It would be part of its peak memory, which is far smaller without."""
    torch, onnxruntime, peak_bytes = served(tiny_onnx)
    assert (torch, onnxruntime) == (False, True)
    with ModelWorker("with PyTorch", Row(tiny_torch), 1) as other:
        other.open()
        assert peak_bytes < (other.cost().peak_memory_bytes or 0)


def test_a_worker_for_pytorch_loads_no_onnxruntime(
    tiny_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["", str(tiny_torch)])

    def serve() -> int:
        forget("compress", "onnxruntime")
        exec(SERVED, {})
        return int("onnxruntime" in sys.modules)

    child = in_fork(serve, tmp_path / "told")
    assert os.waitpid(child, 0)[1] == 0, (tmp_path / "told").read_text()


@pytest.mark.slow  # imports PyTorch anew, to see also what it and transformers import
def test_a_fresh_worker_for_pytorch_loads_it_and_no_onnxruntime(tiny_torch: Path) -> None:
    assert served(tiny_torch)[:2] == [True, False]


@pytest.mark.parametrize("backend", [None, "torch", "torch-bf16", "onnxruntime", "openvino"])
def test_the_files_of_a_model_are_hashed_once_while_it_loads(
    backend: str | None, tiny_torch: Path, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    hashed: list[Path] = []
    digest = folder._sha256

    def noted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(folder, "_sha256", noted)
    engines = {"torch": tiny_torch, "onnxruntime": tiny_onnx, "openvino": tiny_onnx}
    for path in {engines[backend.split("-")[0]]} if backend else {tiny_torch, tiny_onnx}:
        hashed.clear()
        open_row(Row(path, backend), 1)
        files = [file for file in path.rglob("*") if file.is_file() and file.name != folder.MANIFEST]
        assert sorted(hashed) == sorted(files)


def test_only_dynamic_int8_is_answered_one_text_at_a_time(
    tiny_torch: Path, tiny_onnx: Path, tiny_int8: Path, tiny_static: Path
) -> None:
    """Its answers depend on what shares the batch, those of static int8 do not."""
    tokens = {path: open_row(Row(path), 1).batch_tokens for path in (tiny_torch, tiny_onnx, tiny_int8, tiny_static)}
    assert (tokens.pop(tiny_int8), tokens.pop(tiny_static)) == (1, 256)
    assert set(tokens.values()) == {BATCH_TOKENS}
    static = open_row(Row(tiny_static), 1)
    together = static.run(feeds_of(static, 4, 9, 2))
    alone = np.concatenate([static.run(feeds_of(static, words)) for words in (4, 9, 2)])
    assert abs(together - alone).max() < 1e-4


@pytest.mark.usefixtures("forked_workers")
def test_the_report_says_which_models_answered_one_text_at_a_time(tiny_int8: Path, tiny_static: Path) -> None:
    results = bench([tiny_static, tiny_int8], TEST, "single_label", BenchConfig(seconds=0.2, threads=[1]))
    assert [model["throughput"]["batch_tokens"] for model in results["models"]] == [256, 1]
    assert [model["activations"] for model in results["models"]] == ["static", "dynamic"]
    page = as_html(results)
    assert page.count("onnxruntime int8, static</small>") == page.count("onnxruntime int8, dynamic</small>") == 1
    section = page.partition("<h2>Throughput</h2>")[2].partition("</table>")[0]
    static, int8 = section.partition("<tbody>")[2].split("<tr")[1:]
    assert "one text at a time" in int8
    assert "one text at a time" not in static


def test_a_gpu_leaves_out_what_it_has_no_kernels_for(tiny_torch: Path, tiny_onnx: Path, tiny_int8: Path) -> None:
    models = {"teacher": tiny_torch, "onnx": tiny_onnx, "int8": tiny_int8}
    found, left_out = rows(models, device="cuda")
    backends = [backend for name, backend in found if name.startswith("teacher")]
    assert backends[0] == "torch"  # fp32 eager is what all else is compared with
    assert {"torch-tf32", "torch-bf16", "torch-fp16", "torch-fp16-compiled", "torch-fp16-graphs"} < set(backends)
    assert "dynamic int8 is a format for CPUs" in left_out["int8"]
    found_rows, _ = plan(models, BenchConfig(device="cuda"))
    assert {row.device for row in found_rows.values()} == {"cuda"}


def test_onnx_is_left_out_on_a_gpu_that_onnxruntime_cannot_use(tiny_torch: Path, tiny_onnx: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is built for GPUs here")
    _, left_out = rows({"teacher": tiny_torch, "onnx": tiny_onnx}, device="cuda")
    assert "provider CUDA is not in onnxruntime" in left_out["onnx"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"backends": "torch-fp16"}, "torch-fp16 is for GPUs; give --device cuda"),
        ({"backends": "torch-graphs"}, "is for GPUs"),
        ({"backends": "openvino", "device": "cuda"}, "is for CPUs"),
        ({"backends": "onnxruntime"}, "the first model is the reference and would be left out: it is a PyTorch"),
        ({"provider": "Abacus"}, "provider Abacus is not in onnxruntime"),
        ({"backends": "tensorrt"}, "bench.backends should be 'torch', 'torch-bf16'"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(tiny_torch: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(CompressError, match=said):
        rows({"teacher": tiny_torch}, **settings)


def test_a_folder_named_openvino_is_not_taken_for_the_package(
    tiny_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_installed("openvino"):
        pytest.skip("openvino is installed here")
    (tmp_path / "openvino").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(CompressError, match="pip install openvino"):
        rows({"teacher": tiny_torch}, backends="openvino")


def test_bf16_holds_its_weights_in_bf16_and_answers_nearly_the_same(tiny_torch: Path) -> None:
    plain, bf16 = (open_row(Row(tiny_torch, backend), 1) for backend in ("torch", "torch-bf16"))
    feeds = feeds_of(plain, 4, 9, 2)
    assert (bf16.precision, bf16.backend, bf16.size_bytes) == ("bf16", "torch", plain.size_bytes)
    difference = abs(plain.run(feeds) - bf16.run(feeds)).max()
    assert 0 < difference < 0.1
    assert plain.run(feeds).dtype == bf16.run(feeds).dtype


@pytest.mark.slow  # the compiler takes half a minute
def test_a_compiled_model_answers_the_same_at_every_length(tiny_encoder: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    save_checkpoint(make_checkpoint(tiny_encoder, make_bert((4,), (128,)), ("negative", "positive")), tmp_path)
    plain, compiled = (open_row(Row(tmp_path, backend), 1) for backend in ("torch", "torch-compiled"))
    assert compiled.backend == "torch-compiled"
    for length in (5, 9, 30):
        feeds = feeds_of(plain, length)
        assert abs(plain.run(feeds) - compiled.run(feeds)).max() < 1e-4


class Core:
    """OpenVINO's, over onnxruntime: it takes what the graph reads, and refuses an input that it does not."""

    def compile_model(self, graph: str, device: str, settings: dict[str, Any]) -> Callable[[Feeds], dict[str, Any]]:
        assert (device, settings["INFERENCE_PRECISION_HINT"]) == ("CPU", "f32")
        session = ort.InferenceSession(graph)
        return lambda feeds: {"logits": session.run(["logits"], feeds)[0]}


@pytest.fixture(params=["stand-in", "real"])
def openvino(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package where it is installed, and one in its place, which shows what it is asked."""
    if request.param == "real":
        pytest.importorskip("openvino")
    else:
        monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_openvino_answers_as_onnxruntime(family: Family, tiny_encoder: Path, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tiny_encoder, make_model(family), ("negative", "positive"))
    save_checkpoint(replace(checkpoint, max_length=32), tmp_path / "torch")
    compress.export(tmp_path / "torch", tmp_path / "onnx", threads=1)
    plain, other = (open_row(Row(tmp_path / "onnx", backend), 1) for backend in ("onnxruntime", "openvino"))
    assert other.backend == "openvino"
    for words in ((7,), (3, 12, 5)):
        feeds = feeds_of(plain, *words)
        assert abs(plain.run(feeds) - other.run(feeds)).max() < 1e-3


@pytest.mark.usefixtures("openvino")
def test_openvino_keeps_what_was_decided_for_the_folder(tiny_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_onnx, calibrated := tmp_path / "calibrated")
    folder.write_manifest(calibrated, replace(folder.read_manifest(tiny_onnx), decision={"abstain_below": 0.9}))
    told = [
        ModelServer(1, str(calibrated), backend=backend, device="cpu", provider="CPU").describe()["decision"]
        for backend in ("onnxruntime", "openvino")
    ]
    assert told[0]["abstain_below"] == 0.9
    assert told[1] == told[0]
