"""A folder that is not as it was written is refused by the name of the file, whichever that is."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import compress
from compress.errors import CompressError
from compress.folder import read_manifest, write_manifest
from tests.damage import flip, truncate


@pytest.fixture
def folder(tiny_int8: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_int8, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize(("damage", "word"), [(flip, "changed"), (truncate, "bytes"), (Path.unlink, "missing")])
def test_a_damaged_file_is_named(folder: Path, damage: Callable[[Path], object], word: str) -> None:
    files = [file.name for file in read_manifest(folder).files]
    assert {"tokenizer.json", "config.json", "onnx/model_quantized.onnx"} <= set(files)
    for name in files:
        whole = (folder / name).read_bytes()
        damage(folder / name)
        with pytest.raises(CompressError, match=rf"^{re.escape(str(folder / name))}: .*{word}") as found:
            compress.load(folder)
        assert "\n" not in str(found.value)
        (folder / name).write_bytes(whole)
    compress.load(folder)  # whole again


@pytest.mark.parametrize("content", [b"", b"{}", b"version https://git-lfs.github.com/spec/v1\n", b"\xff"])
def test_what_is_no_tokenizer_is_named_whatever_the_manifest_says(folder: Path, content: bytes) -> None:
    manifest, path = read_manifest(folder), folder / "tokenizer.json"
    path.write_bytes(content)
    write_manifest(folder, manifest)
    with pytest.raises(CompressError, match=rf"^{re.escape(str(path))}: is no tokenizer \(.+\); make or copy"):
        compress.load(folder)
