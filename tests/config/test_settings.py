"""What a setting says of its value: what it names, and whether a step's result depends on it."""

import re
from pathlib import Path
from typing import Any

import pytest

from compress.config import (
    BenchConfig,
    CascadeConfig,
    DataConfig,
    DistillConfig,
    FinetuneConfig,
    Names,
    PruneConfig,
    QuantizeConfig,
    Settings,
)
from compress.errors import CompressError
from compress.training.run_files import RunFiles, identity_of

TRAINING = {"threads", "checkpoint_seconds", "track"}
GIVEN: dict[str, Any] = {
    "threads": 3,
    "checkpoint_seconds": 1.5,
    "track": "tensorboard",
    "cache_gb": 0.5,
    "teacher_cache": "elsewhere",
}


def test_settings_say_how_to_compute_or_what() -> None:
    assert FinetuneConfig().without_effect() == TRAINING
    assert DistillConfig().without_effect() == TRAINING | {"cache_gb", "teacher_cache"}
    assert PruneConfig(heads=0.5).without_effect() == TRAINING | {"cache_gb", "teacher_cache"}
    assert PruneConfig(speedup=2).without_effect() == TRAINING - {"threads"} | {"cache_gb", "teacher_cache"}
    assert PruneConfig(target_latency_ms=2).without_effect() == PruneConfig(speedup=2).without_effect()
    assert QuantizeConfig().without_effect() == {"threads"}
    assert QuantizeConfig(activations="auto").without_effect() == set()  # the faster of two, by their times
    assert CascadeConfig().without_effect() == set()  # nothing is written where it is no faster
    assert BenchConfig().without_effect() == set()  # its threads are what it measures


@pytest.mark.parametrize("name", GIVEN)
def test_a_training_goes_on_from_its_checkpoints_with_another_way_to_compute(name: str) -> None:
    def identity(**settings: Any) -> str:
        return identity_of([], [], DistillConfig(**settings), RunFiles(Path(), Path()), 1)

    assert identity(**{name: GIVEN[name]}) == identity()
    assert identity(temperature=3.0) != identity()


def test_sources_are_what_the_settings_name() -> None:
    assert PruneConfig(heads=0.5, teacher="t", unlabeled="u.txt", teacher_cache="c").sources() == {
        "teacher": ["t"],
        "unlabeled": ["u.txt"],
    }
    data = DataConfig(data="d.csv", test="t.csv", label=["topic"], text=["body"])
    assert list(data.sources().items()) == [("data", ["d.csv"]), ("test", ["t.csv"])]  # a run knows its data by them
    assert data.named(Names.COLUMN) == {"text": ["body"], "label": ["topic"]}


def test_paths_and_tuples_of_python_are_taken_as_texts_and_lists() -> None:
    data = DataConfig.parse({"data": "d.csv", "test": Path("t.csv"), "text": ("one", "other")})
    assert (data.test, data.text) == ("t.csv", ["one", "other"])
    student = DistillConfig.parse({"student": Path("runs/s"), "unlabeled": Path("u.txt"), "layer_map": (1, 3)})
    assert (student.student, student.unlabeled, student.layer_map) == ("runs/s", "u.txt", [1, 3])
    bench = BenchConfig.parse({"batch": (1, 8), "length": (32,), "backends": ("torch", "onnxruntime")})
    assert (bench.batch, bench.length, bench.backends) == ([1, 8], [32], ["torch", "onnxruntime"])


@pytest.mark.parametrize(
    ("settings", "name", "given", "message"),
    [
        (QuantizeConfig, "max_drop", "0,5", "quantize.max_drop must be a number, written like 0.5, got 0,5"),
        (QuantizeConfig, "max_drop", [1], "quantize.max_drop must be a number, written like 0.5, got [1]"),
        (FinetuneConfig, "epochs", "", "finetune.epochs must be a number, written like 0.5, got ''"),
        (FinetuneConfig, "batch_size", "1.5", "finetune.batch_size must be a whole number, got 1.5"),
        (FinetuneConfig, "batch_size", 1.5, "finetune.batch_size must be a whole number, got 1.5"),
        (BenchConfig, "batch", "1,x", "bench.batch must be a whole number, got x"),
    ],
)
def test_what_is_no_number_is_refused_in_plain_words(
    settings: type[Settings], name: str, given: object, message: str
) -> None:
    with pytest.raises(CompressError, match=f"^{re.escape(message)}$"):
        settings.parse({name: given})


def test_where_a_number_or_a_list_is_allowed_the_error_still_says_so() -> None:
    with pytest.raises(CompressError, match=r"^distill\.layers .*, got x; .* or a list such as 0,2,4$"):
        DistillConfig.parse({"layers": "x"})
