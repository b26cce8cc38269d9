"""Every file of the package is code or named as its data: else the wheel would lack it."""

import subprocess
import tomllib
from pathlib import PurePath

from tests.release.test_lock import ROOT


def test_every_file_of_the_package_is_code_or_named_as_its_data() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = [pattern.removeprefix("**/") for pattern in project["tool"]["setuptools"]["package-data"]["compress"]]
    listed = subprocess.run(["git", "ls-files", "compress"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [PurePath(line) for line in listed.stdout.splitlines()]
    assert len(files) > 200
    assert [file for file in files if not any(map(file.match, ("*.py", *patterns)))] == []
