"""What every step does around its work."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from compress.config import FinetuneConfig, PruneConfig
from compress.errors import CompressError
from compress.folder import digest_tree, read_manifest
from compress.modeling.checkpoint import load_for_finetuning
from compress.steps.step import data_step

GOAL: dict[str, Any] = {"speedup": 2.0, "threads": 1}


def test_a_dry_run_writes_nothing_and_may_name_a_folder_that_exists(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for folder in (out, tmp_path / ".out.unfinished"):  # the second has the checkpoints of a killed step
        folder.mkdir()
        (folder / "thesis.tex").write_text("years of work", encoding="utf-8")
    before = digest_tree(tmp_path)
    with data_step(PruneConfig, GOAL | {"dry_run": True}, "d.csv", out, overwrite=False, inputs=("m",)) as job:
        (job.folder / "notes.txt").write_text("gone afterwards", encoding="utf-8")
        result = job.result({})
    assert not result.written
    assert not job.folder.exists()
    assert digest_tree(tmp_path) == before


def test_any_other_run_refuses_it_and_is_written(tmp_path: Path) -> None:
    with data_step(PruneConfig, GOAL, "d.csv", tmp_path / "out", overwrite=False, inputs=("m",)) as job:
        (job.folder / "notes.txt").write_text("kept", encoding="utf-8")
        assert job.result({}).written
    assert (tmp_path / "out" / "notes.txt").is_file()
    with (
        pytest.raises(CompressError, match="exists; choose another"),
        data_step(PruneConfig, GOAL, "d.csv", tmp_path / "out", overwrite=False, inputs=("m",)),
    ):
        pass


def test_a_step_gives_the_callers_threads_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with (
        pytest.raises(ZeroDivisionError),
        data_step(PruneConfig, GOAL | {"threads": before + 1}, "d.csv", tmp_path / "out", overwrite=False, inputs=()),
    ):
        assert torch.get_num_threads() == before + 1
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_the_history_says_what_data_was_read(tmp_path: Path) -> None:
    rows = "".join(f"text {number},{'pos' if number % 2 else 'neg'}\n" for number in range(40))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    with data_step(PruneConfig, GOAL, tmp_path, tmp_path / "out", overwrite=False, inputs=("m",)) as job:
        assert "read" not in job._extended((), {}, None, "m")[0]
        assert len(job.dataset.train) == 32
        (entry,) = job._extended((), {}, None, "m")
    assert json.loads(json.dumps(entry))["read"]["rows"] == {"train": 32, "validation": 4, "test": 4}


def test_the_history_says_whether_the_head_is_new(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = "".join(f"text {number},{'pos' if number % 2 else 'neg'}\n" for number in range(40))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    with data_step(FinetuneConfig, {}, tmp_path / "train.csv", tmp_path / "out", False, inputs=(tiny_encoder,)) as job:
        dataset = job.dataset
        job.save_torch(load_for_finetuning(str(tiny_encoder), dataset.task, dataset.labels, seed=0), {})
    read = read_manifest(tmp_path / "out").history[-1]["read"]
    assert read["head"] == "new, for 2 labels (the checkpoint had none)"
    assert read["rows"]["train"] == 32
