"""``import compress`` leaves an app's own transformers alone."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from compress.modeling.register import OLDEST

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("version", ["4.40.1", "99.0.0"])
@pytest.mark.parametrize("order", ["import compress, transformers", "import transformers, compress"])
def test_another_transformers_stays_usable(order: str, version: str, tmp_path: Path) -> None:
    """It lacks the families that came later, or have gone; here it is a module that lacks them all."""
    (tmp_path / "transformers.py").write_text(f"__version__ = '{version}'", encoding="utf-8")
    there = os.pathsep.join([str(tmp_path), str(PYPROJECT.parent)])
    command = [sys.executable, "-c", f"{order}; print(transformers.__file__)"]
    environment = os.environ | {"PYTHONPATH": there}
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (finished.returncode, finished.stdout.strip()) == (0, str(tmp_path / "transformers.py")), finished.stderr
    assert ("pruned models do not load with transformers 99.0.0" in finished.stderr) == (version == "99.0.0")


def test_pruned_models_are_registered_with_every_transformers_that_training_takes() -> None:
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["train"]
    assert f"transformers>={OLDEST[0]}.{OLDEST[1]}" in extras
