from pathlib import Path

import onnxruntime as ort
import pytest

from compress.benchmark.measure import bench
from compress.config import BenchConfig
from compress.errors import CompressError
from compress.runtime.session import OnnxPredictor
from tests.benchmark.test_bench import TEST


@pytest.mark.parametrize("model", ["tiny_onnx", "tiny_torch"])
def test_an_unknown_provider_is_refused_with_those_there_are(model: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(CompressError, match=r"provider Abacus is not in onnxruntime .*it has .*CPU"):
        bench(
            [request.getfixturevalue(model)],
            TEST,
            "single_label",
            BenchConfig(seconds=0.1, threads=[1], provider="Abacus"),
        )


@pytest.mark.parametrize("name", ["CPU", "cpu", "CPUExecutionProvider"])
def test_a_provider_goes_by_its_short_name_too(tiny_onnx: Path, name: str) -> None:
    assert OnnxPredictor.open(tiny_onnx, 1, provider=name).provider == "CPUExecutionProvider"


class Lacking(ort.InferenceSession):  # type: ignore[misc]
    """A session as onnxruntime opens it where a library of the provider is missing."""

    def __init__(self, *given: object, **options: object) -> None:
        super().__init__(*given, **options | {"providers": ["CPUExecutionProvider"]})


def test_a_provider_that_did_not_run_is_an_error(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    monkeypatch.setattr(ort, "InferenceSession", Lacking)
    with pytest.raises(
        CompressError, match=r"CUDA was asked for, but onnxruntime would run the graph on CPUExecutionProvider"
    ):
        OnnxPredictor.open(tiny_onnx, 1, provider="CUDA")
