"""What is written is read back as the same data set."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.config import DataConfig
from compress.data import Dataset, Split, write_dataset
from compress.data.labels import read_labels
from compress.data.read import read_dataset
from compress.errors import CompressError
from compress.new_folder import new_folder
from compress.runtime.encoding import Text
from tests.damage import largest_file

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def is_one_spelling(name: str) -> bool:
    """Whether reading leaves a label's name as it is, and takes it for no list and no row of 0 and 1."""
    try:
        return read_labels([name], [""], multi_label=False) == [(name,)] and not re.match(r"\[|[01][\s,;]", name)
    except CompressError:
        return False


NAME = TEXT.filter(is_one_spelling)


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    names = draw(st.lists(NAME, min_size=2, max_size=4, unique=True))
    pair, multi_label = draw(st.booleans()), draw(st.booleans())
    text: st.SearchStrategy[Text] = st.tuples(TEXT, TEXT) if pair else TEXT
    some = st.sets(st.sampled_from(names)).map(lambda chosen: tuple(sorted(chosen)))
    answer = some if multi_label else st.sampled_from(names).map(lambda name: (name,))

    def split(always: list[tuple[str, ...]]) -> Split:
        labels = always + draw(st.lists(answer, min_size=1, max_size=3))
        return Split([draw(text) for _ in labels], labels)

    task = ("pair_" if pair else "") + ("multi_label" if multi_label else "single_label")
    return Dataset(task, tuple(sorted(names)), split([(name,) for name in names]), split([]), split([]))  # type: ignore[arg-type]


@settings(deadline=None, max_examples=80)
@given(dataset=data_sets())
def test_written_splits_are_read_back_equal(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(dataset, Path(folder) / "data")
        again = read_dataset(DataConfig(data=f"{folder}/data"))
    assert again == dataset
    assert again.digest == dataset.digest


def test_a_full_disk_is_said_and_nothing_half_written_is_left(tmp_path: Path) -> None:
    split = Split(["a" * 100_000, "b"], [("x",), ("y",)])
    with (
        largest_file(1_000),
        pytest.raises(CompressError, match=r"data: cannot be written \(File too large\); free some space"),
        new_folder(tmp_path / "data") as folder,
    ):
        write_dataset(Dataset("single_label", ("x", "y"), split, split, split), folder)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
