"""``run``: every step of a recipe, and after that only what changed, however the last run ended."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import compress
from compress.cli.main import main
from compress.errors import CompressError
from compress.folder import MANIFEST, digest_tree, read_manifest, write_manifest
from compress.recipes import run as recipes_run
from compress.recipes.recipe import Recipe
from compress.workers import process
from tests.benchmark.results_schema import check_results
from tests.damage import flip, truncate
from tests.processes import ForkedWorker, start_module, wait_until
from tests.tiny import STORED_RUN, write_rows
from tests.undrawn import leave_charts_out

# What is done with a bench's answers is the same in workers that start as users' do, which tests/benchmark looks at.
pytestmark = pytest.mark.usefixtures("forked_workers")

INPUTS = {
    "teacher": (),
    "student": ("teacher",),
    "pruned": ("student", "teacher"),
    "onnx": ("pruned",),
    "int8": ("onnx",),
    "report": ("int8",),
}
STEPS = tuple(INPUTS)
MODELS = STEPS[:-1]
TORCH = ("teacher", "student", "pruned")
ANOTHER = {  # a change of each step's settings
    "teacher": {"learning_rate": 2e-3},
    "student": {"temperature": 3.0},
    "pruned": {"heads": 0.0},
    "onnx": {"pairs": True},
    "int8": {"max_drop": 50},
    "report": {"seed": 1},
}


@dataclass(frozen=True)
class Bench:
    """A run of its own in ``out``, with the recipe and the data that it is made from."""

    recipe: dict[str, Any]
    out: Path

    @property
    def data(self) -> Path:
        return Path(self.recipe["data"])

    def run(self, **changes: Any) -> set[str]:
        """Run again, with settings of steps changed; returns the steps that were done."""
        steps = {name: settings | changes.pop(name, {}) for name, settings in self.recipe["steps"].items()}
        assert changes.keys() <= {"seed", "overwrite"}
        return set(compress.run(Recipe.parse(self.recipe | {"steps": steps}), self.out, **changes))

    def only(self, *names: str) -> "Bench":
        """The same run with these steps alone."""
        steps = {name: dict(self.recipe["steps"][name]) for name in names}
        return Bench(self.recipe | {"steps": steps}, self.out)

    def model(self, name: str) -> str:
        return read_manifest(self.out / name).digest

    def models(self) -> dict[str, str]:
        return {name: self.model(name) for name in MODELS}

    def expected(self, before: dict[str, str], *changed: str) -> set[str]:
        """``changed``, and each step one of whose inputs is another model than ``before``."""
        after = self.models()
        return {*changed} | {
            step for step in self.recipe["steps"] if any(before[name] != after[name] for name in INPUTS[step])
        }


def the_recipe() -> dict[str, Any]:
    training = {"epochs": 1, "learning_rate": 1e-3, "precision": "fp32", "threads": 1, "batch_size": 16}
    steps: dict[str, dict[str, Any]] = {
        "teacher": {"step": "finetune", "model": str(STORED_RUN / "teacher"), **training},
        "student": {"step": "distill", "teacher": "teacher", "layers": 1, **training, "epochs": 5, "batch_size": 8},
        "pruned": {"step": "prune", "model": "student", "teacher": "teacher", "heads": 0.5, "ffn": 0.5, **training},
        "onnx": {"step": "export", "model": "pruned", "threads": 1},
        "int8": {"step": "quantize", "model": "onnx", "threads": 1, "max_drop": 100},
        "report": {"step": "bench", "models": ["int8"], "seconds": 0.1, "threads": 1},
    }
    return {"data": str(STORED_RUN / "data"), "steps": steps}


@pytest.fixture(scope="module")
def _finished(once: Callable[..., Path]) -> Bench:
    def run(out: Path, threads: int) -> None:  # noqa: ARG001 - the recipe has its own
        partial = out.with_name("run.partial")  # a run's folder is there from its first file on
        shutil.rmtree(partial, ignore_errors=True)
        out.parent.mkdir(exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "_start", ForkedWorker)
            leave_charts_out(patch)
            assert Bench(the_recipe(), partial).run() == set(STEPS)
        partial.rename(out)

    return Bench(the_recipe(), once("run", run))


@pytest.fixture
def benched(_finished: Bench, tmp_path: Path) -> Bench:
    """A finished run."""
    return Bench(_finished.recipe, Path(shutil.copytree(_finished.out, tmp_path / "out")))


@pytest.fixture
def finished(benched: Bench) -> Bench:
    """A finished run that will not bench again, which would take seconds."""
    return benched.only(*MODELS)


def as_file(recipe: dict[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(recipe), encoding="utf-8")  # JSON is YAML
    return path


def test_a_run_leaves_the_data_a_folder_for_each_step_and_the_report(benched: Bench) -> None:
    finished = benched
    assert {path.name for path in finished.out.iterdir()} - {".lock"} == {"data", "run.json", *STEPS}
    assert {path.name for path in (finished.out / "data").iterdir()} >= {"dataset.json"}
    about = json.loads((finished.out / "data" / "dataset.json").read_text(encoding="utf-8"))
    assert about["rows"] == {"train": 64, "validation": 24, "test": 24}
    assert about["labels"] == ["negative", "positive"]
    for name in ("report.html", "report.md", "results.json"):
        assert (finished.out / "report" / name).is_file()
    results = json.loads((finished.out / "report" / "results.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in results["models"]] == ["int8"]
    check_results(results)


def test_the_history_tells_every_step_and_the_parents_digests(finished: Bench) -> None:
    _, *history = read_manifest(finished.out / "int8").history  # the first entry is of the model that it begins with
    assert [entry["step"] for entry in history] == ["finetune", "distill", "prune", "export", "quantize"]
    assert [entry["parent"]["digest"] for entry in history[1:]] == [
        finished.model(name) for name in ("teacher", "student", "pruned", "onnx")
    ]
    assert history[2]["config"]["ffn"] == 0.5


def test_a_second_run_redoes_nothing_and_touches_nothing(benched: Bench) -> None:
    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in benched.out.rglob("*") if path.name != ".lock"}

    before = times()
    assert benched.run() == set()
    assert times() == before


def test_a_run_that_was_moved_is_not_redone(benched: Bench, tmp_path: Path) -> None:
    assert Bench(benched.recipe, benched.out.rename(tmp_path / "moved")).run() == set()


@pytest.mark.parametrize("step", STEPS)
def test_a_changed_setting_redoes_its_step_and_what_it_changes(step: str, benched: Bench) -> None:
    finished = benched if step == "report" else benched.only(*MODELS)
    before = finished.models()
    done = finished.run(**{step: ANOTHER[step]})
    assert done == finished.expected(before, step)
    if step in TORCH:  # these changes do change the weights
        assert done == {step} | {
            name for name in MODELS[MODELS.index(step) :] if name != "student" or step == "teacher"
        }


def test_what_does_not_change_a_result_redoes_nothing(finished: Bench, tmp_path: Path) -> None:
    changes: dict[str, Any] = {name: {"threads": 2} for name in MODELS}
    for name in TORCH:
        changes[name] |= {"checkpoint_seconds": 1.5, "track": "tensorboard"}
    for name in ("student", "pruned"):
        changes[name] |= {"cache_gb": 2.5, "teacher_cache": str(tmp_path / "cache")}
    assert finished.run(**changes) == set()


def test_a_bench_is_done_again_when_a_model_is_another(benched: Bench) -> None:
    other = benched.only(*STEPS)
    other.recipe["steps"]["onnx"] |= {"model": "student"}
    assert other.run() == {"onnx", "int8", "report"}
    assert other.run() == set()


def test_changing_a_setting_back_goes_back(finished: Bench) -> None:
    small, before = finished.only("teacher", "student", "pruned"), finished.model("pruned")
    assert small.run(pruned=ANOTHER["pruned"]) == {"pruned"}
    assert finished.model("pruned") != before
    assert small.run() == {"pruned"}
    assert finished.model("pruned") == before


def test_a_step_that_is_added_is_the_only_one_to_run(finished: Bench) -> None:
    steps = finished.recipe["steps"] | {"again": {"step": "export", "model": "teacher", "threads": 1}}
    assert Bench(finished.recipe | {"steps": steps}, finished.out).run() == {"again"}


def test_changed_data_redo_finetune_and_quantize(finished: Bench, tmp_path: Path) -> None:
    data = Path(shutil.copytree(finished.data, tmp_path / "data"))
    moved = Bench(finished.only("teacher", "onnx", "int8").recipe | {"data": str(data)}, finished.out)
    moved.recipe["steps"]["onnx"] |= {"model": str(finished.out / "pruned")}
    moved.run()
    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    random.Random(1).shuffle(lines)
    (data / "train.jsonl").write_text("\n".join(lines[:50]), encoding="utf-8")
    assert moved.run() == {"teacher", "int8"}
    assert moved.run() == set()


def test_data_that_were_moved_and_other_files_beside_them_redo_nothing(finished: Bench, tmp_path: Path) -> None:
    data = Path(shutil.copytree(finished.data, tmp_path / "moved"))
    moved = Bench(finished.recipe | {"data": str(data)}, finished.out)
    assert moved.run() == set()
    (data / "notes.txt").write_text("so it goes", encoding="utf-8")
    assert moved.run() == set()
    about = json.loads((finished.out / "data" / "dataset.json").read_text(encoding="utf-8"))
    assert (about["read"]["data"], about["read"]["unused"]) == (str(data), "notes.txt")


def test_a_file_that_cannot_be_read_is_one_line(
    finished: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(finished.data, tmp_path / "data"))
    (data / "notes").symlink_to("/proc/self/mem")  # which nobody can read from its beginning, root neither
    recipe = as_file(finished.recipe | {"data": str(data)}, tmp_path / "recipe.yaml")
    assert main(["run", str(recipe), "--out", str(finished.out)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"compress: {data}: Input/output error; give files and folders that can be read")
    assert said.count("\n") == 1


def test_data_named_from_the_home_folder_are_looked_at(
    finished: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(finished.data, tmp_path / "texts")
    at_home = Bench(finished.recipe | {"data": "~/texts"}, finished.out).only("teacher")
    at_home.run()
    train = next((tmp_path / "texts").glob("train.*"))
    train.write_bytes(train.read_bytes().replace(b" the ", b" a "))
    assert at_home.run() == {"teacher"}


def test_a_model_that_bench_could_not_measure_is_an_error_and_tried_again(
    benched: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Path(shutil.copytree(benched.out / "onnx", tmp_path / "broken"))
    (broken / "tokenizer.json").write_text("{}", encoding="utf-8")
    manifest = read_manifest(benched.out / "onnx")
    write_manifest(broken, manifest)  # whole, by what it says, and yet no worker can open it
    steps = {"report": benched.recipe["steps"]["report"] | {"models": [str(benched.out / "onnx"), str(broken)]}}
    recipe = as_file(benched.recipe | {"steps": steps}, tmp_path / "recipe.yaml")
    for _ in range(2):
        assert main(["run", str(recipe), "--out", str(benched.out)]) == 2
        shown = capsys.readouterr()
        assert "| onnx |" in shown.out
        assert f"{broken}: could not be measured, the other models were" in shown.err


def test_another_version_of_the_package_and_overwrite_redo_everything(
    finished: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: finished.model(name) for name in TORCH}
    assert finished.run(overwrite=True) == set(MODELS)
    assert {name: finished.model(name) for name in TORCH} == before
    monkeypatch.setattr(recipes_run, "__version__", "99.0.0")
    assert finished.only("teacher").run() == {"teacher"}
    assert {name: finished.model(name) for name in TORCH} == before


def _change(folder: Path) -> None:
    flip(max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size))


@pytest.mark.parametrize(
    ("damage", "step"),
    [
        (shutil.rmtree, "teacher"),
        (_change, "pruned"),
        (lambda folder: truncate(folder / MANIFEST), "pruned"),
        (_change, "int8"),
    ],
    ids=["deleted", "changed", "manifest", "int8"],
)
def test_a_lost_or_damaged_folder_is_made_again(damage: Callable[[Path], object], step: str, finished: Bench) -> None:
    before = finished.models()
    damage(finished.out / step)
    done = finished.run()
    assert done == finished.expected(before, step)
    if step in TORCH:
        assert finished.model(step) == before[step]
        assert done == {step}  # the same model again, so nothing else had to be done
    assert finished.run() == set()


def test_a_lost_report_is_made_again(benched: Bench) -> None:
    (benched.out / "report" / "results.json").unlink()
    (benched.out / "report" / "results.json").touch()
    assert benched.run() == {"report"}


def test_more_text_counts_by_its_content_and_a_loss_by_its_source(
    finished: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_loss.py").write_text(
        "def loss(student, teacher, batch):\n    return 0.0 * student['logits'].sum()\n"
    )
    more = tmp_path / "more.jsonl"
    write_rows(more, [{"body": "a good film"}, {"body": "a bad film"}])
    rows = map(json.loads, (finished.data / "train.jsonl").read_text(encoding="utf-8").splitlines())
    write_rows(tmp_path / "texts.jsonl", [{"body": row["text"], "label": row["label"]} for row in rows])
    steps = {name: finished.recipe["steps"][name] for name in ("teacher", "student")}
    steps["student"] |= {"unlabeled": "more.jsonl", "loss": "own_loss.loss", "epochs": 1}
    recipe = {"data": {"data": "texts.jsonl", "text": "body"}, "steps": steps}
    path = as_file(recipe, tmp_path / "recipe.yaml")
    assert set(compress.run(path, tmp_path / "out")) == {"teacher", "student"}  # the column's name serves both
    assert set(compress.run(path, tmp_path / "out")) == set()
    write_rows(more, [{"body": "a good film"}, {"body": "a dull film"}])
    assert set(compress.run(path, tmp_path / "out")) == {"student"}


@pytest.mark.parametrize("lost", ["data", "data/dataset.json"])
def test_lost_data_are_written_again_and_redo_nothing(lost: str, finished: Bench) -> None:
    path = finished.out / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert finished.run() == set()
    assert (finished.out / "data" / "dataset.json").is_file()


def test_overwrite_too_writes_data_again_that_lost_what_marks_them_as_ours(finished: Bench) -> None:
    (finished.out / "data" / "dataset.json").unlink()
    steps = {"onnx": finished.recipe["steps"]["onnx"] | {"model": str(finished.out / "pruned")}}
    assert Bench(finished.recipe | {"steps": steps}, finished.out).run(overwrite=True) == {"onnx"}
    assert (finished.out / "data" / "dataset.json").is_file()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"steps": []}', '{"steps": {"teacher": 1}}'])
def test_a_damaged_memory_of_the_run_costs_time_only(content: str, finished: Bench) -> None:
    (finished.out / "run.json").write_text(content, encoding="utf-8")
    steps = {"onnx": finished.recipe["steps"]["onnx"] | {"model": str(finished.out / "pruned")}}
    small = Bench(finished.recipe | {"steps": steps}, finished.out)
    assert small.run() == {"onnx"}
    assert small.run() == set()


def test_another_seed_gives_other_bytes(finished: Bench, tmp_path: Path) -> None:
    """That the same seed gives the same is seen where everything is made again, and where a run was killed."""
    other = Bench(finished.only(*TORCH).recipe, tmp_path / "other")
    other.run(seed=1)
    for name in TORCH:
        weights = [(bench.out / name / "model.safetensors").read_bytes() for bench in (finished, other)]
        assert weights[0] != weights[1]


def test_a_run_that_was_killed_goes_on_and_ends_as_one_that_was_not(finished: Bench, tmp_path: Path) -> None:
    step = "student"
    killed = Bench(finished.recipe, tmp_path / "killed")
    recipe = as_file(killed.recipe, tmp_path / "recipe.yaml")
    told = tmp_path / "told.txt"
    process = start_module(["compress", "run", str(recipe), "--out", str(killed.out)], told)
    # What it says next: then the student's training is about to begin.
    wait_until(lambda: told.exists() and "teacher cache:" in told.read_text(encoding="utf-8"))
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    earlier = STEPS[: STEPS.index(step)]
    left = {path.name for path in killed.out.iterdir() if path.is_dir()} - {"data", *earlier}
    assert left == {f".{step}.partial"}
    assert killed.run() == set(MODELS) - set(earlier)
    assert {name: killed.model(name) for name in TORCH} == {name: finished.model(name) for name in TORCH}
    assert not list(killed.out.glob(".*.partial"))


@pytest.mark.parametrize("changed", [{}, {"int8": {"max_drop": 100}}], ids=["the same", "other settings"])
def test_a_run_killed_between_the_two_renames_of_a_replacement_goes_on(
    changed: dict[str, Any], finished: Bench
) -> None:
    (finished.out / "int8").rename(finished.out / ".int8.old")
    assert finished.run(**changed) == {"int8"}
    assert not list(finished.out.glob(".int8.*"))
    finished.run()


def test_two_runs_at_once_do_not_mix(finished: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = digest_tree(finished.out)
    recipe = as_file(finished.recipe | {"seed": 5}, tmp_path / "recipe.yaml")
    with FileLock(finished.out / ".lock"):  # what a run holds as long as it lives
        assert main(["run", str(recipe), "--out", str(finished.out)]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith(f"compress: --out {finished.out}: another run is writing there")
    assert stderr.count("\n") == 1
    assert digest_tree(finished.out) == before
    assert finished.run() == set()  # and the lock is free again


def test_a_run_as_json_names_what_was_done(finished: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(finished.out / "int8")
    recipe = as_file(finished.recipe, tmp_path / "recipe.yaml")
    assert main(["run", str(recipe), "--out", str(finished.out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["int8"]
    assert document["int8"]["folder"] == str(finished.out / "int8")


def test_a_recipe_is_read_once_so_it_may_come_from_a_pipe(finished: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    end, start = os.pipe()
    with os.fdopen(start, "w") as recipe:
        json.dump(finished.recipe, recipe)
    assert main(["run", f"/dev/fd/{end}", "--out", str(finished.out)]) == 0
    os.close(end)
    assert capsys.readouterr().out == f"model:  {finished.out / 'int8'}\n"


def test_a_folder_that_is_not_a_runs_is_left_alone(finished: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for overwrite in (False, True):
        with pytest.raises(CompressError, match="is not the folder of a run"):
            Bench(finished.recipe, tmp_path / "mine").run(overwrite=overwrite)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_a_run_that_was_killed_before_it_noted_anything_begins_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for left in (".lock", ".run.json.partial"):
        (out / left).touch()
    recipe = Recipe.parse({"data": str(tmp_path / "no.csv"), "steps": {"onnx": {"step": "export", "model": "m"}}})
    (own := tmp_path / "own").mkdir()
    for folder in (out, own):
        with pytest.raises(CompressError, match=r"no\.csv"):
            compress.run(recipe, folder)
    assert not out.exists()
    assert not list(own.iterdir())  # and it stays: somebody made it with an owner and a mode


def test_a_failing_step_keeps_what_was_done_before(finished: Bench) -> None:
    with pytest.raises(CompressError, match="at most 2"):
        finished.run(student={"layers": 9})
    assert finished.run() == set()
