"""Hub data sets, without the hub: a folder, which ``datasets`` loads likewise, and a set that cannot be had."""

from pathlib import Path

import datasets
import huggingface_hub
import pytest

from compress.data.sources import _hub_splits, hub_tables
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


def test_a_split_with_withheld_labels_is_none() -> None:
    labelled = Table("labelled", {"sentence": ["a", "b"], "label": ["x", "y"]}, [1, 2])
    withheld = Table("withheld", {"sentence": ["a", "b"], "label": [None, None]}, [1, 2])
    found = {"train": labelled, "validation_matched": labelled, "validation_mismatched": withheld, "test": withheld}
    assert _hub_splits(found, []) == {"train": [labelled], "validation": [labelled]}


def test_a_data_set_that_cannot_be_had_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for settings in (datasets.config, huggingface_hub.constants):  # what HF_HUB_OFFLINE sets when they are imported
        monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    with pytest.raises(CompressError, match=r"^glue/no-such-set: no such file or folder here, and the hub") as told:
        hub_tables("glue/no-such-set")
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")
