"""A step leaves the process of an app that calls it as it was."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

import compress
from compress.config import FinetuneConfig
from compress.errors import CompressError
from compress.progress import say
from compress.steps.step import data_step

SHORT: dict[str, Any] = {"epochs": 0.2, "precision": "fp32", "device": "cpu"}


@pytest.fixture
def app() -> Iterator[Accelerator]:
    """An app that trains by itself."""
    _forget()
    yield Accelerator(mixed_precision="bf16", cpu=True, gradient_accumulation_steps=4)
    _forget()


def _forget() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def drawn() -> tuple[float, float, float]:
    return random.random(), np.random.random(), float(torch.rand(()))  # noqa: NPY002 - the app's own generator


def seed() -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(5)


def test_a_training_leaves_an_apps_own_training_and_its_random_numbers_alone(
    app: Accelerator, shallow_encoder: Path, few_data: Path, tmp_path: Path
) -> None:
    seed()
    expected = [drawn(), drawn()]
    seed()
    found = [drawn()]
    compress.finetune(shallow_encoder, few_data, tmp_path / "out", **SHORT)
    found.append(drawn())
    assert (app.mixed_precision, app.gradient_accumulation_steps) == ("bf16", 4)
    assert found == expected
    with pytest.raises(ValueError, match="already been initialized"):  # the app's first one still rules
        Accelerator(mixed_precision="no", cpu=True)


def test_so_does_one_that_fails(app: Accelerator, few_data: Path, tmp_path: Path) -> None:
    seed()
    expected = drawn()
    seed()
    with (
        pytest.raises(ZeroDivisionError),
        data_step(FinetuneConfig, {}, few_data, tmp_path / "out", overwrite=False, inputs=()),
    ):
        _forget()
        Accelerator(mixed_precision="no", cpu=True)
        drawn()
        _ = 1 / 0
    assert app.mixed_precision == "bf16"
    assert drawn() == expected


def test_what_a_refused_step_noticed_is_not_said_by_the_next(
    tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"film {number},{'xy'[number % 2]}\n" for number in range(60))
    (tmp_path / "other.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    with pytest.raises(CompressError, match="its labels are not the data's"):
        compress.quantize(tiny_onnx, tmp_path / "other.csv", tmp_path / "int8")
    with pytest.raises(CompressError):
        compress.check(tiny_onnx, tiny_onnx, tmp_path / "other.csv")
    say("the next line")
    assert capsys.readouterr().err == "the next line\n"
