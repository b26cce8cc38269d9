"""Hub data sets, without the hub: a folder, which ``datasets`` loads likewise, and a set that cannot be had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from compress.config import DataConfig
from compress.data import sources
from compress.data.read import read_dataset, read_test
from compress.data.sources import hub_tables
from compress.data.tables import Table
from compress.errors import CompressError


def test_class_numbers_become_names_and_withheld_ones_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = datasets.ClassLabel(names=["negative", "positive"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names, "labels": datasets.List(names)})
    rows = {"text": ["a", "b"], "label": [1, -1], "labels": [[0, 1], []]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "reviews" / "test.parquet")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    table = hub_tables("reviews")["test"]
    assert table.columns == {
        "text": ["a", "b"],
        "label": ["positive", None],
        "labels": [["negative", "positive"], []],
    }
    assert table.place(1) == "reviews (test), row 2"


ROWS = 40
TEXTS = {"sentence": [f"film {row}" for row in range(ROWS)]}
LABELLED = TEXTS | {"label": ["x", "y"] * (ROWS // 2)}
WITHHELD: dict[str, list[Any]] = TEXTS | {"label": [None] * ROWS}

OnHub = Callable[..., DataConfig]


@pytest.fixture
def on_hub(monkeypatch: pytest.MonkeyPatch) -> OnHub:
    """A data set whose splits have these columns; the hub itself cannot be asked here."""

    def publish(**splits: dict[str, list[Any]]) -> DataConfig:
        tables = {name: Table(f"some/set ({name})", cells, range(1, ROWS + 1), "row") for name, cells in splits.items()}
        monkeypatch.setattr(sources, "hub_tables", {"some/set": tables}.__getitem__)
        return DataConfig(data="some/set")

    return publish


@pytest.mark.parametrize("test", [TEXTS, WITHHELD], ids=["no column", "withheld"])
def test_a_test_split_without_labels_is_held_out_as_from_files(
    test: dict[str, list[Any]], on_hub: OnHub, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = read_dataset(on_hub(train=LABELLED, validation=LABELLED, test=test))
    assert [len(split) for split in dataset.splits.values()] == [36, 40, 4]
    assert "some/set (test) has no labels, so it is left out" in capsys.readouterr().err
    assert dataset.source is not None
    assert (dataset.source.unused, dataset.source.held_out) == (["test"], ["test"])


def test_of_several_splits_the_first_with_labels_is_read_and_the_others_are_told(on_hub: OnHub) -> None:
    splits = {"train_r1": LABELLED, "train_r2": LABELLED, "dev_r1": WITHHELD, "dev_r2": LABELLED, "corpus": TEXTS}
    dataset = read_dataset(on_hub(**splits, test=LABELLED))
    assert dataset.source is not None
    assert dataset.source.files == {
        "train": ["some/set (train_r1)"],
        "validation": ["some/set (dev_r2)"],
        "test": ["some/set (test)"],
    }
    assert "; not used: train_r2, dev_r1, corpus; " in dataset.source.describe()


def test_a_split_without_labels_does_not_hide_another_that_has_them(on_hub: OnHub) -> None:
    splits = {"train_unlabeled": WITHHELD, "train": LABELLED, "test": WITHHELD, "test_labelled": LABELLED}
    dataset = read_dataset(on_hub(**splits))
    assert dataset.source is not None
    assert dataset.source.files["train"] == ["some/set (train)"]
    assert dataset.source.files["test"] == ["some/set (test_labelled)"]


def test_a_set_without_a_train_split_says_what_it_has(on_hub: OnHub) -> None:
    config = on_hub(test=LABELLED, corpus=TEXTS)
    with pytest.raises(CompressError) as told:
        read_dataset(config)
    assert str(told.value) == (
        "some/set: no train split; it has test, corpus; write the split to train on to a file, and give --train FILE"
    )


def test_without_any_labels_the_test_split_s_texts_are_read(on_hub: OnHub) -> None:
    other = {"sentence": ["so", "it"] * (ROWS // 2)}
    test, _ = read_test(on_hub(train=TEXTS, test=other))
    assert (test.texts, test.labels) == (other["sentence"], [])


def test_a_data_set_that_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for settings in (datasets.config, huggingface_hub.constants):  # what HF_HUB_OFFLINE sets when they are imported
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    with pytest.raises(CompressError, match=r"^glue/no-such-set: no such file or folder here, and the hub") as told:
        hub_tables("glue/no-such-set")
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")
