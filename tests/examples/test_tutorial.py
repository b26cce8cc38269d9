"""The tutorial notebook runs from the first cell to the last, and was kept with the outputs of such a run."""

import shutil
from pathlib import Path

from tests.examples.notebook import TUTORIAL, code_cells, read, run

KEPT_BENCH = Path(__file__).parents[2] / "benchmarks" / "results" / "demo.json"
# A tiny model has only 60 validation texts to show its bound with.
SMALLER = {"max_error=6": "max_error=50"}


def test_it_runs_in_the_folder_where_it_lies(tiny_int8: Path, tiny_data: Path, tmp_path: Path) -> None:
    demo = tmp_path / "runs" / "demo"
    shutil.copytree(tiny_int8, demo / "int8")
    shutil.copytree(tiny_data, demo / "data")
    (demo / "report").mkdir()
    shutil.copy(KEPT_BENCH, demo / "report" / "results.json")
    (tmp_path / TUTORIAL.parent.name).mkdir()
    notebook, kept = read(), read()
    for words, smaller in SMALLER.items():
        assert sum(words in line for cell in code_cells(notebook) for line in cell["source"]) == 1
        for cell in code_cells(notebook):
            cell["source"] = [line.replace(words, smaller) for line in cell["source"]]
    run(notebook, tmp_path / TUTORIAL.parent.name)
    assert [_kinds(cell) for cell in code_cells(notebook)] == [_kinds(cell) for cell in code_cells(kept)]
    assert [cell["execution_count"] for cell in code_cells(kept)] == list(range(1, len(code_cells(kept)) + 1))


def _kinds(cell: dict[str, list[dict[str, str]]]) -> list[str]:
    return [output["output_type"] for output in cell["outputs"]]
