from collections.abc import Callable
from pathlib import Path

import pytest

from compress.config import DataConfig
from compress.data import Dataset
from compress.data.read import read_dataset
from compress.errors import CompressError
from compress.progress import show_held

Read = Callable[..., Dataset]
Refusal = Callable[..., str]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write the given files (name to content) and read the folder, or ``data`` in it."""

    def write_and_read(files: dict[str, str | bytes], data: str = "", **settings: object) -> Dataset:
        for name, content in files.items():
            encoded = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(encoded)
        dataset = read_dataset(DataConfig.parse({"data": str(tmp_path / data), **settings}))
        show_held()
        return dataset

    return write_and_read


@pytest.fixture
def refusal(read: Read, tmp_path: Path) -> Refusal:
    """The one line that the files are refused with, the folder's own path left out."""

    def refused(files: dict[str, str | bytes], data: str = "", **settings: object) -> str:
        with pytest.raises(CompressError) as caught:
            read(files, data, **settings)
        message = str(caught.value)
        assert "\n" not in message
        return message.replace(f"{tmp_path}/", "")

    return refused
