"""What is in models/ is whole and answers; a model is published with what makes it again, and is made again."""

import json
import re
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import compress
from benchmarks.models import check as checking
from benchmarks.models import publish as publishing
from benchmarks.models import table as listing
from benchmarks.models.__main__ import main
from benchmarks.models.publish import FIGURES, MODELS, MOST_BYTES, publish
from benchmarks.models.recipe import CLASS_WEIGHTS, RECIPE, published, recipe_text
from compress.data.dataset import write_dataset
from compress.folder import MANIFEST, SEARCH, read_manifest
from compress.machine import describe_machine
from compress.recipes.recipe import read_recipe
from compress.runtime.graph_file import INT8_GRAPH
from compress.task import reads_pairs
from compress.tuning.promise import divided
from tests.tiny import read

PUBLISHED = sorted(path.parent for path in MODELS.rglob(FIGURES))
NAME = "reviews/balanced"


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.relative_to(MODELS).as_posix())
def test_a_published_model_is_whole_and_answers(folder: Path) -> None:
    look_at(folder)


def look_at(folder: Path) -> None:
    """What holds for every folder in models/."""
    read_recipe(folder / RECIPE)
    for path in filter(Path.is_file, folder.rglob("*")):
        assert path.stat().st_size <= MOST_BYTES, path
        machine = path.suffix != ".onnx" and re.search(r"[\"' ]/(home|tmp|work|root)/", path.read_text("utf-8"))
        assert not machine, f"{path} names a folder of the machine that it comes from"
    kept = json.loads((folder / FIGURES).read_text(encoding="utf-8"))["kept"]
    assert kept == (folder / MANIFEST).is_file()
    if kept:
        manifest = read_manifest(folder)  # which looks at every digest
        texts: list[Any] = ["What is this?", "Something else, and longer."]
        texts = [(text, text) for text in texts] if reads_pairs(manifest.task) else texts
        answers = compress.load(folder, threads=1)(texts)
        assert len(answers) == len(texts)


@pytest.fixture(scope="module")
def workplace(shallow_encoder: Path, few_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with an encoder and data known by relative names; what is published goes there too."""
    place = tmp_path_factory.mktemp("models")
    (place / "encoder").symlink_to(shallow_encoder)
    (place / "sets").mkdir()
    (place / "sets" / "reviews").symlink_to(few_data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for module in (publishing, checking, listing):
            patch.setattr(module, "MODELS", place / "published")
        yield


@pytest.fixture(scope="module")
def search(workplace: None) -> Path:  # noqa: ARG001
    """The folder of a search that took the teacher itself in int8, as far as it is read.

    It is seen from the folder that the tests publish from, where ``encoder`` could as well be a hub id.
    """
    out, data = Path("search").absolute(), Path("sets/reviews")
    dataset, weights = read(data), Path("weights.json").absolute()
    weights.write_text(json.dumps(dict.fromkeys(dataset.labels, 2.0)), encoding="utf-8")
    given: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3, "class_weights": str(weights), "threads": 1}
    compress.finetune("encoder", data, "teacher", **given)
    write_dataset(replace(dataset, validation=divided(dataset)[0]), out / "data")
    compress.quantize(Path("teacher").absolute(), out / "data", out / "best", max_drop=100, threads=1)
    accuracy = {"metric": "accuracy", "value": 0.5, "ci95": [0.0, 1.0]}
    entry = {"accuracy": accuracy, "answer_p50_ms": 2.0, "answer_p95_ms": 3.0}
    entry |= {"size_bytes": (out / "best" / INT8_GRAPH).stat().st_size}
    entry |= {"parameters": read_manifest(out / "best").parameters}
    change = {"accuracy_delta": 0.0, "ci95": [-0.1, 0.1], "speedup_answer": 1.0}
    entries = [
        entry | {"name": name, "backend": "torch", "precision": "fp32", "versus_first": change}
        for name in ("teacher", "best")
    ]
    machine = describe_machine([1])
    results: dict[str, Any] = {"models": entries, "machine": machine, "created": "2026-11-27", "warnings": []}
    results |= {"test_texts": len(dataset.test), "settings": {"threads": [1]}, "search": {"found": "It was found."}}
    (out / SEARCH).write_text(json.dumps({"about": {"data": dataset.digest}}), encoding="utf-8")
    (out / "report").mkdir()
    (out / "report" / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return out


def put(search: Path, name: str) -> Path:
    """Publish it from another folder."""
    with chdir(search):
        return publish(search, name, "../../../sets/reviews")


def test_a_published_model_is_made_again_byte_for_byte(search: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(search, NAME)
    out = put(search, NAME)  # which replaces it
    look_at(out)
    everything = "".join(path.read_text(encoding="utf-8") for path in (out / MANIFEST, out / RECIPE, out / "README.md"))
    assert str(Path.cwd()) not in everything
    assert "It was found." in everything
    assert "[reviews/balanced](reviews/balanced/README.md) | 50.0%" in listing.table()
    assert checking.check(NAME, Path("sets"))
    assert capsys.readouterr().out == f"{NAME}: made again, byte for byte\n"


def test_a_large_model_is_published_as_its_recipe(search: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MOST_BYTES", 10)
    put(search, "reviews/large")
    out = put(search, "reviews/large")
    assert sorted(path.name for path in out.iterdir()) == ["README.md", CLASS_WEIGHTS, FIGURES, RECIPE]
    card = (out / "README.md").read_text(encoding="utf-8")
    about = card.partition("\n# models/reviews/large\n")[2].strip()
    assert about.startswith("The model itself is too large")
    assert "makes one like it in `runs/reviews/large/int8`." in about.partition("\n")[0]
    assert 'compress.load("runs/reviews/large/int8")' in card
    assert '("models/reviews/large' not in card
    assert "its recipe |" in listing.table()


def test_other_bytes_are_the_same_model_only_elsewhere_and_within_the_interval(search: Path) -> None:
    out = put(search, NAME)
    figures = json.loads((out / FIGURES).read_text(encoding="utf-8")) | {"graph_sha256": "other"}
    dataset = read(Path("sets/reviews"))

    def compared(**changes: Any) -> bool:
        return checking.compare(search / "best", figures | changes, dataset)[0]

    model, packages = figures["model"], [{"torch": "0.1"}]
    accuracy = model["accuracy"] | {"ci95": [1.1, 1.2]}
    assert not compared()
    assert compared(packages=packages)
    assert not compared(packages=packages, model=model | {"accuracy": accuracy})
    assert not compared(packages=packages, parameters=figures["parameters"] + 1)
    assert not compared(packages=packages, model=model | {"size_bytes": int(1.1 * model["size_bytes"])})


def test_other_data_and_no_models_are_told(search: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(search, NAME) / FIGURES
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"data_sha256": ""}), encoding="utf-8")
    with pytest.raises(SystemExit, match="the data are not those"):
        checking.check(NAME, Path("sets"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "MODELS", search / "none")
        assert main(["check"]) == 1
    assert capsys.readouterr().out == "no models\n"


def test_what_nobody_else_could_make_is_refused(search: Path) -> None:
    with pytest.raises(SystemExit, match="path of this machine"):
        publish(search, NAME, "/data/reviews")
    with pytest.raises(SystemExit, match="no model best, only other"):
        results = json.loads((search / "report" / "results.json").read_text(encoding="utf-8"))
        publishing.figures_of({"models": [results["models"][0] | {"name": "other"}]}, search / "best", [])
    entry = read_manifest(search / "best").history[-1] | {"parent": {"source": str(Path("teacher").absolute())}}
    with pytest.raises(SystemExit, match="which nobody else has"):
        recipe_text(NAME, list(published([entry], "reviews")), "reviews")
    own = read_manifest(search / "best").history[0]
    student = own | {"step": "distill", "config": {"unlabeled": "/home/me/more.txt"}, "parent": {"source": "hub/big"}}
    with pytest.raises(SystemExit, match=r"student.unlabeled is .*, which nobody else has; publish a model"):
        recipe_text(NAME, list(published([student], "reviews")), "reviews")
    with pytest.raises(SystemExit, match="model is encoder, which nobody else has"):
        publish(search, NAME, "../../../sets/reviews")  # from here it is a folder


def test_the_folders_of_this_machine_are_not_published(search: Path) -> None:
    home = "/home/me/secret"
    own = read_manifest(search / "best").history[0]
    own = own | {"step": "distill", "parent": {"source": home}, "config": {"teacher_cache": home, "layers": 2}}
    own = own | {"data": {"data": home, "validation": f"{home}/v.csv"}, "read": own["read"] | {"data": home}}
    student = own | {"parent": {"source": "hub/teacher"}}
    made = [entry.entry for entry in published([student, own], "reviews")]
    assert home not in json.dumps(made)
    assert [entry["config"] for entry in made] == [{"teacher_cache": None, "layers": 2}] * 2
    assert made[0]["data"] == {"data": "reviews"}


def test_the_recipe_reads_the_data_as_the_teacher_did(search: Path) -> None:
    entry = read_manifest(search / "best").history[0]
    entry = entry | {"parent": {"source": "hub/encoder"}, "data": {"data": "x", "text": ["question"], "train": "x.csv"}}
    text = recipe_text(NAME, list(published([entry], "../x")), "../x")
    assert yaml.safe_load(text)["data"] == {"data": "../x", "text": ["question"]}


def test_the_recipe_names_the_rate_that_was_taken(search: Path) -> None:
    """A later version may choose another where the settings leave it open."""
    entry = read_manifest(search / "best").history[0]
    left_open = entry["config"] | {"learning_rate": None}
    entry = entry | {"parent": {"source": "hub/encoder"}, "config": left_open}
    entry["metrics"] = entry["metrics"] | {"trained_with": {"learning_rate": 3e-5}}
    (step,) = yaml.safe_load(recipe_text(NAME, list(published([entry], "../x")), "../x"))["steps"].values()
    assert step["learning_rate"] == 3e-5
