"""Whatever operation a kill or a failing disk hits, the same command ends with the same bytes and leaves nothing over.

40 points of the quickest recipe by default, 40 of every recipe with ``make test-all``, and 400 with
``python -m tests.faults --points 400``.
"""

from pathlib import Path

import pytest

from tests.faults.__main__ import points, summary
from tests.faults.library import How, compiler
from tests.faults.points import FAULTS, SCENARIOS, drawn, half_written
from tests.tiny import STORED_RUN


@pytest.mark.skipif(compiler() is None, reason="needs Linux and a C compiler")
@pytest.mark.parametrize(
    ("how_many", "scenarios"),
    [(40, ["quantize alone"]), pytest.param(40, list(SCENARIOS), marks=pytest.mark.slow)],
)
def test_a_run_that_fails_anywhere_goes_on_to_the_same_bytes(how_many: int, scenarios: list[str]) -> None:
    with points(how_many, 0, *scenarios) as told:
        result = summary(told)
    assert result["problems"] == []
    assert result["points"] == how_many
    assert min(result["operations"].values()) > 100  # the library counts


def test_points_are_spread_over_all_operations() -> None:
    operations = {"a": 100, "b": 300}
    found = list(drawn(operations, 40, seed=3))
    assert [name for name, _, _ in found].count("a") == 10
    assert {how for _, how, _ in found} == set(FAULTS) == set(How) - {How.COUNT}
    assert all(1 <= at <= operations[name] for name, _, at in found)


def test_half_a_folder_under_its_name_is_seen(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "int8").symlink_to(STORED_RUN / "int8")
    assert half_written(tmp_path / "run") is None
    (tmp_path / "other" / "int8").mkdir(parents=True)
    assert "half-written" in str(half_written(tmp_path / "other"))
