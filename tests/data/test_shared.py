"""The real sets load as their authors publish them, and their splits do not leak."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from compress.config import DataConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.data.split import kindred

pytestmark = pytest.mark.shared


@cache
def load(folder: Path) -> Dataset:
    """Without flags; once for all tests."""
    return read_dataset(DataConfig(data=str(folder)))


@pytest.mark.parametrize(
    ("name", "task", "labels", "rows"),
    [
        ("sst2", "single_label", 2, (65_349, 2_000, 872)),
        ("banking77", "single_label", 77, (9_003, 1_000, 3_080)),
        ("goemotions", "multi_label", 28, (43_410, 5_426, 5_427)),
        ("mrpc", "pair_single_label", 2, (3_668, 408, 1_725)),
    ],
)
def test_a_set_loads_without_flags(
    shared_data: Path, name: str, task: str, labels: int, rows: tuple[int, int, int]
) -> None:
    dataset = load(shared_data / name)
    assert (dataset.task, len(dataset.labels)) == (task, labels)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == rows
    assert {label for names in dataset.train.labels for label in names} == set(dataset.labels)


def test_mrpc_s_columns_can_be_named(shared_data: Path) -> None:
    named = DataConfig(data=str(shared_data / "mrpc"), text=["#1 String", "#2 String"], label=["Quality"])
    dataset = read_dataset(named)
    assert dataset.digest == load(shared_data / "mrpc").digest
    assert sum(isinstance(text, tuple) and text[0].count('"') % 2 for text in dataset.train.texts) > 0


def test_no_sst2_phrase_is_held_out_while_its_sentence_trains(shared_data: Path) -> None:
    dataset = load(shared_data / "sst2")
    train = [f" {str(text).strip()} " for text in dataset.train.texts]
    corpus = "|".join(train)
    phrases = [f" {str(text).strip()} " for text in dataset.validation.texts if len(str(text).split()) > 4]
    leaked = [phrase for phrase in phrases if phrase in corpus]
    assert len(phrases) > 1_000
    assert leaked == []


@pytest.mark.parametrize("name", ["sst2", "banking77"])
def test_groups_are_small_enough_to_share_out(shared_data: Path, name: str) -> None:
    dataset = load(shared_data / name)
    sizes = np.bincount(kindred(dataset.train.texts))
    assert sizes.max() < 0.005 * len(dataset.train)
