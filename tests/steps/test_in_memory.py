"""Steps take paths: models, data and recipes in memory are refused in one line, before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.errors import CompressError

LINEAR = torch.nn.Linear(2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: compress.export(LINEAR, out), "give a path or hub id, got a Linear"),  # type: ignore[arg-type]
        (lambda out: compress.distill(None, "d.csv", out), "give a path or hub id, got None"),  # type: ignore[arg-type]
        (lambda out: compress.distill([LINEAR], "d.csv", out), "give a path or hub id, got a Linear"),  # type: ignore[list-item]
        (lambda out: compress.bench(None, "d.csv", out), "give a path or hub id, got None"),  # type: ignore[arg-type]
        (lambda out: compress.bench(b"m", "d.csv", out), "give a path or hub id, got a bytes"),  # type: ignore[arg-type]
        (lambda _: compress.export("m", None), "--out: give a path, got None"),  # type: ignore[arg-type]
        (lambda _: compress.load(None), "give a path or hub id, got None"),  # type: ignore[arg-type]
        (lambda out: compress.run({"data": "d.csv"}, out), "recipe: give a path, got a dict"),  # type: ignore[arg-type]
        (lambda out: compress.run("a\0b.yaml", out), r"recipe 'a\\x00b.yaml': no file can have this name"),
    ],
)
def test_what_is_no_path_is_refused(call: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=f"^{message}"):
        call(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "got"), [(None, "None"), ([{"text": "a", "label": "b"}], "a list"), (torch.zeros(2), "a Tensor")]
)
def test_data_in_memory_are_refused(data: Any, got: str, tmp_path: Path) -> None:
    for step in (compress.finetune, compress.distill, compress.prune, compress.quantize, compress.bench):
        with pytest.raises(CompressError, match=f"^data must be a path or hub id, got {got}; write it to a file"):
            step("model", data, tmp_path / "out")
    with pytest.raises(CompressError, match=r"^data must be"):
        compress.check("model", "model", data)


def test_the_recipe_of_run_may_be_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "r.yaml").write_text("data: d.csv", encoding="utf-8")
    with pytest.raises(CompressError, match=f"^{tmp_path}/r.yaml: recipe.steps is required"):
        compress.run("~/r.yaml", "out")
