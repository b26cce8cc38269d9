"""What ``make dist`` leaves works where it is installed alone: the wheel in fresh environments, outside the checkout.

Minutes, and it needs a package index: ``make dist-check``.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import compress
from tests.release.test_lock import LOCK, ROOT, pinned
from tests.tiny import STORED_RUN

pytestmark = pytest.mark.slow

MODEL = STORED_RUN / "int8"
LOCKED = ROOT / ".locked" / "bin"
TEXTS = ["a good film", "a dull mess"]
BASE = {"numpy", "onnxruntime", "tokenizers"}
ANSWERS = (
    "import compress, json, sys\nprint(json.dumps(compress.load(sys.argv[1], threads=1).logits(sys.argv[2:]).tolist()))"
)
ARTICLES = """
import csv
from compress.demo_assets import bbc_news
texts, topics = bbc_news()
with open("articles.csv", "w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows([("text", "label"), *zip(texts[::10], topics[::10])])
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What it prints; nothing of this checkout is on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def dist() -> Path:
    run("make", "dist", f"PYTHON={sys.executable}", cwd=ROOT)
    return ROOT / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("compress/")}
    here = run("git", "ls-files", "compress", cwd=ROOT).split()
    assert inside == set(here)
    assert {"compress/py.typed", "compress/recipes/recipe.schema.json"} < inside
    assert "compress/benchmark/report/results.schema.json" in inside


def test_the_bill_of_materials_has_every_locked_package(dist: Path) -> None:
    bill = json.loads((dist / "compress-bert.cdx.json").read_text(encoding="utf-8"))
    component = bill["metadata"]["component"]
    assert (component["name"], component["version"]) == ("compress-bert", compress.__version__)
    listed = pinned("\n".join(f"{part['name']}=={part['version'].split('+')[0]}" for part in bill["components"]))
    assert listed == pinned(LOCK)
    assert {part["ref"] for part in bill["dependencies"]} >= {part["bom-ref"] for part in bill["components"]}


def test_the_base_install_answers_as_here(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "base", cwd=tmp_path)
    bin_ = tmp_path / "base" / "bin"
    run(bin_ / "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    installed = {each["name"].lower() for each in json.loads(run(bin_ / "pip", "list", "--format=json", cwd=tmp_path))}
    assert installed > BASE
    assert not installed & {"torch", "transformers", "pydantic"}
    here = compress.load(MODEL, threads=1)
    assert json.loads(run(bin_ / "python", "-c", ANSWERS, MODEL, *TEXTS, cwd=tmp_path)) == here.logits(TEXTS).tolist()
    predicted = json.loads(run(bin_ / "compress", "predict", MODEL, "--json", "--threads", "1", *TEXTS, cwd=tmp_path))
    assert [one["label"] for one in predicted] == [one.label for one in here(TEXTS)]


def shorter(demo: dict[str, Any]) -> dict[str, Any]:
    """The demo's recipe with little training, on a tenth of the articles."""
    for settings in demo["steps"].values():
        settings.update({"epochs": 1} if "epochs" in settings else {})
        settings.update({"max_drop": 100} if settings["step"] == "quantize" else {})
    demo["steps"]["report"] |= {"models": ["teacher", "int8"], "seconds": 0.1}
    return demo | {"data": "articles.csv"}


def test_the_demo_runs_on_locked_wheels_alone(wheel: Path, tmp_path: Path) -> None:
    assert wheel.is_file()  # it is installed there by now
    place = run(LOCKED / "python", "-c", "import compress; print(compress.__file__)", cwd=tmp_path)
    assert Path(place).is_relative_to(ROOT / ".locked")
    run(LOCKED / "python", "-c", ARTICLES, cwd=tmp_path)
    recipe = yaml.safe_load((Path(place).parent / "recipes" / "demo.yaml").read_text(encoding="utf-8"))
    (tmp_path / "demo.yaml").write_text(json.dumps(shorter(recipe)), encoding="utf-8")  # JSON is YAML
    run(LOCKED / "compress", "run", "demo.yaml", "--out", "demo", cwd=tmp_path)
    results = json.loads((tmp_path / "demo" / "report" / "results.json").read_text(encoding="utf-8"))
    schema = Path(place).parent / "benchmark" / "report" / "results.schema.json"
    jsonschema.validate(results, json.loads(schema.read_text(encoding="utf-8")))
    assert [model["name"] for model in results["models"]] == ["teacher", "int8"]
    logits = json.loads(run(LOCKED / "python", "-c", ANSWERS, "demo/int8", "the match ended in a draw", cwd=tmp_path))
    assert len(logits[0]) == 5
