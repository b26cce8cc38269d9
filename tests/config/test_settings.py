"""What a setting says of its value: what it names, and whether a step's result depends on it."""

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
)
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
