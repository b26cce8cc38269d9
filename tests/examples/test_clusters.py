"""The programs for Spark and Ray, in local mode: every row, with the answers of the model in memory."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import compress
from tests.tiny import read

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 2_000


@pytest.mark.parametrize(
    ("engine", "package", "flags"),
    [("spark", "pyspark", ("--master", "local[2]")), ("ray", "ray", ("--workers", "2"))],
)
def test_all_rows_have_the_models_answers(
    engine: str, package: str, flags: tuple[str, ...], tiny_int8: Path, tiny_data: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install {package}")
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer")
    texts = [
        f"{text} {number}"
        for number, text in zip(range(ROWS), [*map(str, read(tiny_data).train.texts)] * 9, strict=False)
    ]
    (tmp_path / "in").mkdir()
    for part in range(4):
        numbers = list(range(part, ROWS, 4))
        table = pyarrow.table({"id": numbers, "text": [texts[number] for number in numbers]})
        pyarrow.parquet.write_table(table, tmp_path / "in" / f"{part}.parquet")
    command = [
        sys.executable,
        str(EXAMPLES / engine / "classify.py"),
        *map(str, (tiny_int8, tmp_path / "in", tmp_path / "out")),
    ]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    finished = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    found = pyarrow.parquet.read_table(tmp_path / "out").sort_by("id").to_pylist()
    with compress.load(tiny_int8, threads=1) as classifier:
        expected = classifier(texts)
    assert [row["text"] for row in found] == texts
    assert [row["label"] for row in found] == [one.label for one in expected]
    assert [row["abstained"] for row in found] == [False] * ROWS
    assert [row["score"] for row in found] == pytest.approx([one.score for one in expected], abs=1e-5)
