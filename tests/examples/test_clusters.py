"""The programs for Spark and Ray, in local mode: every row, with the answers of the model in memory."""

import importlib.util
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest

from benchmarks import clusters
from benchmarks.predict_lines import texts

ROWS = 2_000


@pytest.mark.parametrize(("engine", "package"), [("spark", "pyspark"), ("ray", "ray")])
def test_all_rows_have_the_models_answers(engine: str, package: str, tiny_int8: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}: pip install {package}")
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17 or newer")
    rows, out = list(texts(ROWS)), tmp_path / "out"
    clusters.write_rows(tmp_path / "in", rows)
    clusters.run(engine, tiny_int8, 2, tmp_path / "in", out)
    assert pyarrow.parquet.read_table(out).num_rows == ROWS
    expected = clusters.expected_rows(tiny_int8, rows)
    assert clusters.wrong_rows(rows, expected, out) == 0
    assert clusters.wrong_rows(["another text", *rows[1:]], expected, out) == 1
