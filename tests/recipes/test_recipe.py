"""Recipes: one meaning in YAML and TOML, a schema that is never stale, errors that say where and what instead."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import compress
from compress.config import DistillConfig
from compress.errors import CompressError
from compress.recipes.recipe import Recipe, json_schema, read_recipe
from compress.recipes.run import _resolved

PACKAGE = Path(compress.__file__).parent
DEMO = PACKAGE / "recipes" / "demo.yaml"

YAML = """
data: {data: texts.csv, text: [question, answer], label: topic}
seed: 3
steps:
  teacher:
    step: finetune
    model: bert-base-uncased
    epochs: 2
    learning_rate: 5e-5
    freeze_embeddings: true
  student: {step: distill, teacher: teacher, layers: [0, 2]}
  onnx: {step: export, model: student}
  int8: {step: quantize, model: onnx, max_drop: 1}
  report: {step: bench, models: [teacher, int8], batch: [1, 8]}
"""
TOML = """
seed = 3
[data]
data = "texts.csv"
text = ["question", "answer"]
label = "topic"
[steps.teacher]
step = "finetune"
model = "bert-base-uncased"
epochs = 2
learning_rate = 5e-5
freeze_embeddings = true
[steps.student]
step = "distill"
teacher = "teacher"
layers = [0, 2]
[steps.onnx]
step = "export"
model = "student"
[steps.int8]
step = "quantize"
model = "onnx"
max_drop = 1
[steps.report]
step = "bench"
models = ["teacher", "int8"]
batch = [1, 8]
"""


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def recipe_with(**teacher: Any) -> dict[str, Any]:
    step = {"step": "finetune", "model": "bert-base-uncased"} | teacher
    return {"data": "texts.csv", "steps": {"teacher": {name: value for name, value in step.items() if value != ...}}}


def error_of(path: Path, content: object) -> str:
    write(path, content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(CompressError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


def test_yaml_and_toml_say_the_same(tmp_path: Path) -> None:
    from_yaml, from_toml = read_recipe(write(tmp_path / "a.yaml", YAML)), read_recipe(write(tmp_path / "a.toml", TOML))
    assert from_yaml == from_toml
    assert list(from_yaml.steps) == list(from_toml.steps) == ["teacher", "student", "onnx", "int8", "report"]
    assert from_yaml.model_dump(exclude_unset=True) == from_toml.model_dump(exclude_unset=True)


def test_values_are_read_as_they_were_meant() -> None:
    recipe = Recipe.model_validate(yaml.safe_load(YAML))
    teacher = recipe.steps["teacher"]
    assert (recipe.seed, recipe.data.text, recipe.data.label) == (3, ["question", "answer"], ["topic"])
    assert getattr(teacher, "learning_rate", None) == 5e-5  # YAML 1.1 calls 5e-5 a string
    assert getattr(recipe.steps["student"], "layers", None) == [0, 2]


def test_data_may_be_a_name_alone(tmp_path: Path) -> None:
    short, long = recipe_with(), recipe_with() | {"data": {"data": "texts.csv"}}
    read = [read_recipe(write(tmp_path / "r.yaml", yaml.safe_dump(raw))) for raw in (short, long)]
    assert read[0] == read[1]


def test_the_shipped_schema_is_not_stale() -> None:
    shipped = (PACKAGE / "recipes" / "recipe.schema.json").read_text(encoding="utf-8")
    assert shipped == json_schema(), "run: python -m compress run --schema > compress/recipes/recipe.schema.json"


def test_the_schema_is_one_and_the_demo_keeps_to_it() -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    first_line = DEMO.read_text(encoding="utf-8").partition("\n")[0]
    assert (DEMO.parent / first_line.rpartition("=")[2]).is_file()  # what the editor is pointed at
    # YAML 1.1 reads 5e-5 as text, YAML 1.2, which editors speak, as a number.
    raw = json.loads(json.dumps(yaml.safe_load(DEMO.read_text(encoding="utf-8"))), object_hook=numbers)
    jsonschema.validate(raw, schema)
    assert read_recipe(DEMO).steps


def numbers(table: dict[str, Any]) -> dict[str, Any]:
    return {name: float(value) if name == "learning_rate" else value for name, value in table.items()}


@pytest.mark.parametrize(
    "raw",
    [
        {},
        recipe_with() | {"steps": {}},
        recipe_with() | {"stages": {}},
        recipe_with(step="train"),
        recipe_with(step=...),
        recipe_with(model=...),
        recipe_with(epochs=0),
        recipe_with(learning_rate=0),
        recipe_with(epoch=3),
        recipe_with(metric="auc"),
        recipe_with(step="prune", speedup=2, dry_run=True),
        recipe_with() | {"data": {"data": "texts.csv", "text": ["a", "b", "c"]}},
        recipe_with() | {"steps": {"../teacher": recipe_with()["steps"]["teacher"]}},
    ],
    ids=str,
)
def test_reader_and_schema_refuse_the_same(tmp_path: Path, raw: dict[str, Any]) -> None:
    error_of(tmp_path / "r.yaml", raw)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, json.loads(json_schema()))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (recipe_with(epochs=0), ["steps.teacher", "finetune.epochs", "above 0", "got 0"]),
        (recipe_with(epochs="many"), ["steps.teacher", "finetune.epochs", "number", "many"]),
        (recipe_with(learning_rate=7), ["steps.teacher", "finetune.learning_rate", "below 1", "got 7"]),
        (recipe_with(metric="auc"), ["steps.teacher", "finetune.metric", "accuracy", "macro_f1", "got auc"]),
        (recipe_with(epoch=3), ["steps.teacher", "finetune.epoch ", "not a setting", "epochs", "batch_size"]),
        (recipe_with(model=...), ["steps.teacher", "finetune.model is required", "earlier step"]),
        (
            recipe_with(step="train"),
            ["steps.teacher.step", "finetune, distill, prune, export, quantize, calibrate, cascade, bench", "'train'"],
        ),
        (
            recipe_with(step=...),
            ["steps.teacher.step", "finetune, distill, prune, export, quantize, calibrate, cascade, bench"],
        ),
        (recipe_with(step="prune"), ["steps.teacher", "prune needs heads or ffn"]),
        (
            recipe_with(step="prune", speedup=2, dry_run=True),
            ["steps.teacher", "prune.dry_run should be False, got True", "write their folders"],
        ),
        (recipe_with(step="prune", heads=2), ["steps.teacher", "prune.heads", "at least 0 and below 1", "got 2"]),
        (recipe_with(step="bench", model=..., models=[]), ["steps.teacher", "bench.models", "at least 1"]),
        (recipe_with(step="bench", model=..., models=["a"], batch=[0]), ["steps.teacher", "bench.batch"]),
        (
            recipe_with(step="bench", model=..., models=["a"], backends=["torch", "torch-fp16"]),
            ["steps.teacher: bench cannot run torch-fp16 on a CPU; give device cuda"],
        ),
        (
            recipe_with(step="bench", model=..., models=["a"], backends="torch-varlen-bf16-graphs"),
            ["bench cannot run torch-varlen-bf16-graphs on a CPU"],
        ),
        (
            recipe_with(step="bench", model=..., models=["a"], backends="openvino", device="cuda"),
            ["steps.teacher: bench cannot run openvino on a GPU", "device cpu"],
        ),
        (
            recipe_with(step="distill", model=..., teacher="t", soft_weight=0, hard_weight=0),
            ["steps.teacher: distill has nothing to learn from", "its weights are all 0", "relation_weight"],
        ),
        (recipe_with() | {"data": {"text": ["a"]}}, ["data.data is required"]),
        (recipe_with() | {"data": {"data": "d", "column": "a"}}, ["data.column is not a setting", "label"]),
        (recipe_with() | {"seed": -1}, ["recipe.seed", "at least 0", "got -1"]),
        (recipe_with() | {"seed": 20260115123456}, ["recipe.seed", "at most 2147483647", "got 20260115123456"]),
        (recipe_with() | {"stages": {}}, ["recipe.stages is not a setting", "steps"]),
        ({"data": "d"}, ["recipe.steps is required"]),
        (recipe_with() | {"steps": {}}, ["recipe.steps", "at least 1"]),
        (recipe_with() | {"steps": ["finetune"]}, ["recipe.steps", "dict"]),
        (recipe_with() | {"steps": {"teacher": "finetune"}}, ["steps.teacher"]),
        (recipe_with() | {"steps": {"teacher": None}}, ["steps.teacher"]),
        (recipe_with() | {"steps": {"data": recipe_with()["steps"]["teacher"]}}, ["step named data", "taken"]),
        (recipe_with() | {"steps": {"../t": recipe_with()["steps"]["teacher"]}}, ["../t"]),
        (recipe_with() | {"steps": {"a/b": recipe_with()["steps"]["teacher"]}}, ["a/b"]),
        (recipe_with() | {"steps": {1: recipe_with()["steps"]["teacher"]}}, ["does not read the name 1 as text"]),
        ("data: a\non: push\n", ["does not read the name on as text; put it in quotes", "line 2"]),
        ("data: a\nsteps: {s: {step: export, model: {{ model }}}}\n", ["a template", "line 2"]),
        ("data: a\n? [b, c]\n: d\n", ["a name is a list or a table", "line 2"]),
        ("data: 2026-02-30\n", ["not valid yaml (day is out of range for month)"]),
        ("data: !!bool maybe\n", ["not valid yaml"]),
        pytest.param("data: " + "[" * 1_000, ["not valid yaml (too deeply nested)"], id="deep"),
        (recipe_with(model="a\0b"), ["'a\\x00b': no file can have this name"]),
        pytest.param(recipe_with(model="x" * 300), ["no file can have this name"], id="a long name"),
        pytest.param(recipe_with(model="a/" * 2040), ["no file can have this name"], id="a long path"),
        (recipe_with(model=[[["x"] * 9] * 9]), ["finetune.model should be a valid string, got [[['x', 'x', ", "..."]),
        (["data", "steps"], ["a recipe is a table", "list"]),
        ("", ["a recipe is a table"]),
        ("data: [", ["not valid yaml", "line 1"]),
        (
            "data: a\nsteps:\n  s: {step: export, model: m}\n  s: {step: prune, model: m}\n",
            ["s is there twice", "line 4"],
        ),
        ("data: a\n\tsteps: b\n", ["not valid yaml", "line 2"]),
    ],
    ids=str,
)
def test_errors_name_the_file_the_step_the_setting_and_what_is_allowed(
    tmp_path: Path, raw: object, words: list[str]
) -> None:
    message = error_of(tmp_path / "r.yaml", raw)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("..x", "should be the name of a function, as in module.function, got ..x"),
        (".", "should be the name of a function"),
        ("json.dumps loads", "should be the name of a function"),
        ("nowhere.at_all", "No module named 'nowhere"),
        ("os.path", "should be callable"),
        ("broken_module_of_a_user.loss", "cannot be imported (ZeroDivisionError: division by zero), got broken_"),
    ],
)
def test_a_loss_that_is_no_function_is_one_line(
    loss: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "broken_module_of_a_user.py", "1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    steps = {"student": {"step": "distill", "teacher": "bert-base-uncased", "loss": loss}}
    message = error_of(tmp_path / "r.yaml", {"data": "d.csv", "steps": steps})
    assert "steps.student: distill.loss" in message
    assert words in message


def test_a_loss_may_be_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "module_of_a_working_folder.py", "def loss(student, teacher, batch): return 0\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    named = {"loss": "module_of_a_working_folder.loss"}
    with pytest.raises(CompressError, match="No module named"):
        DistillConfig.parse(named)
    monkeypatch.chdir(tmp_path)
    found = DistillConfig.parse(named).loss
    assert found is not None
    assert found.__module__ == "module_of_a_working_folder"


def test_toml_errors_name_the_line(tmp_path: Path) -> None:
    message = error_of(tmp_path / "r.toml", "seed = 3\ndata = texts.csv\n")
    assert "not valid toml" in message
    assert "line 2" in message


def test_a_recipe_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("data: café".encode("latin-1"))
    for name, word in {"absent.yaml": "no such file", "latin.yaml": "UTF-8", ".": "cannot be read"}.items():
        with pytest.raises(CompressError, match=word) as caught:
            read_recipe(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


def test_a_step_cannot_read_one_that_comes_later(tmp_path: Path) -> None:
    steps = {
        "student": {"step": "distill", "teacher": "teacher"},
        "teacher": {"step": "finetune", "model": "bert-base-uncased"},
    }
    message = error_of(tmp_path / "r.yaml", {"data": "d", "steps": steps})
    assert "steps.student" in message
    assert "teacher" in message


FINETUNE = {"step": "finetune", "model": "bert-base-uncased"}


def in_order(path: Path, steps: dict[str, Any]) -> Path:
    return write(path, yaml.safe_dump({"data": "d.csv", "steps": steps}, sort_keys=False))


@pytest.mark.parametrize(
    ("steps", "misspelt"),
    [
        ({"teacher": FINETUNE, "onnx": {"step": "export", "model": "teachr"}}, "teachr"),
        ({"teacher": FINETUNE, "onnx": {"step": "export", "model": "teacher"}}, None),
        ({"bert-base-uncased-a": FINETUNE, "bert-base-uncased-b": FINETUNE}, None),
        ({"bert-base-cased": FINETUNE | {"model": "bert-base-cased"}, "uncased": FINETUNE}, None),
        ({"teacher": FINETUNE, "onnx": {"step": "export", "model": "me/teacher"}}, None),
        ({"teacher": FINETUNE, "second": FINETUNE | {"model": "teachr"}}, "teachr"),
        ({"teacher": FINETUNE, "onnx": {"step": "export", "model": "teacher-1"}}, "teacher-1"),
        ({"bert-base-uncased-sst2": FINETUNE, "onnx": {"step": "export", "model": "bert-base-uncased"}}, None),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
)
def test_a_misspelt_step_is_told_from_a_hub_id(tmp_path: Path, steps: dict[str, Any], misspelt: str | None) -> None:
    path = in_order(tmp_path / "r.yaml", steps)
    if misspelt:
        with pytest.raises(CompressError, match=f"there is no step {misspelt}; did you mean teacher"):
            read_recipe(path)
    else:
        assert read_recipe(path).steps.keys() == steps.keys()


def test_a_step_may_have_the_name_of_the_model_that_it_finetunes(tmp_path: Path) -> None:
    steps = {"bert-base-uncased": FINETUNE, "onnx": {"step": "export", "model": "bert-base-uncased"}}
    path = in_order(tmp_path / "r.yaml", steps)
    assert models_read(path, tmp_path) == ["bert-base-uncased", str(tmp_path / "bert-base-uncased")]
    (beside := tmp_path / "recipes").mkdir()
    (beside / "bert-base-uncased").mkdir()
    path = in_order(beside / "r.yaml", steps)
    assert models_read(path, tmp_path) == [str(beside / "bert-base-uncased"), str(tmp_path / "bert-base-uncased")]


def models_read(path: Path, out: Path) -> list[object]:
    """The model that each step of a run into ``out`` reads."""
    recipe = read_recipe(path)
    return [getattr(_resolved(name, recipe, out), "model", None) for name in recipe.steps]


def test_a_step_that_is_made_of_itself_is_refused(tmp_path: Path) -> None:
    message = error_of(tmp_path / "r.yaml", {"data": "d", "steps": {"onnx": {"step": "export", "model": "onnx"}}})
    assert "steps.onnx.model names onnx, the step itself; name an earlier step, a folder or a hub id" in message


def test_paths_are_meant_from_the_recipes_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes, elsewhere = tmp_path / "recipes", tmp_path / "elsewhere"
    for folder in (recipes, elsewhere):
        for name in ("models/bert", "models/other", "models/third"):
            (folder / name).mkdir(parents=True)
        for name in ("texts.csv", "more.csv"):
            write(folder / name, "")
    steps = {
        "teacher": {"step": "finetune", "model": "models/bert"},
        "student": {"step": "distill", "teacher": "teacher", "student": "models/other"},
        "pruned": {"step": "prune", "model": "student", "teacher": "../recipes/models/third", "ffn": 0.5},
        "report": {"step": "bench", "models": ["models/bert", "pruned", "prajjwal1/bert-tiny"]},
    }
    raw = {"data": {"data": "texts.csv", "test": "more.csv"}, "steps": steps}
    write(recipes / "r.yaml", yaml.safe_dump(raw, sort_keys=False))
    monkeypatch.chdir(elsewhere)
    for path in (recipes / "r.yaml", Path("../recipes/r.yaml")):
        recipe = read_recipe(path)
        found = {name: step.model_dump(exclude_unset=True) for name, step in recipe.steps.items()}
        assert recipe.data.data == str(recipes / "texts.csv")
        assert recipe.data.test == str(recipes / "more.csv")
        assert found["teacher"]["model"] == str(recipes / "models/bert")
        assert (found["student"]["teacher"], found["student"]["student"]) == (
            ["teacher"],
            str(recipes / "models/other"),
        )
        assert (found["pruned"]["model"], found["pruned"]["teacher"]) == ("student", str(recipes / "models/third"))
        assert found["report"]["models"] == [str(recipes / "models/bert"), "pruned", "prajjwal1/bert-tiny"]


def test_a_link_to_a_file_without_a_suffix_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    write(tmp_path / "blobs" / "9f8e7d", '{"text": "a film"}\n')
    for name in ("texts.jsonl", "more.jsonl"):
        (tmp_path / name).symlink_to("blobs/9f8e7d")
    steps = {"student": {"step": "distill", "teacher": "some/teacher", "unlabeled": "more.jsonl"}}
    read = read_recipe(write(tmp_path / "r.yaml", yaml.safe_dump({"data": "texts.jsonl", "steps": steps})))
    assert read.data.data == str(tmp_path / "texts.jsonl")
    assert getattr(read.steps["student"], "unlabeled", None) == str(tmp_path / "more.jsonl")


def test_a_steps_name_wins_over_a_folder(tmp_path: Path) -> None:
    for name in ("teacher", "student"):
        (tmp_path / name).mkdir()
    read = read_recipe(write(tmp_path / "r.yaml", YAML))
    assert getattr(read.steps["student"], "teacher", None) == ["teacher"]
    assert getattr(read.steps["report"], "models", None) == ["teacher", "int8"]


def test_columns_and_names_that_happen_to_be_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("question", "topic", "accuracy"):
        write(tmp_path / name, "")
    read = read_recipe(write(tmp_path / "r.yaml", YAML))
    assert (read.data.text, read.data.label) == (["question", "answer"], ["topic"])


def test_a_folder_to_write_is_beside_the_recipe_whether_it_is_there_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, meant in {
        "cache": tmp_path / "cache",
        "/far/cache": Path("/far/cache"),
        "~/c": tmp_path / "home/c",
    }.items():
        steps = {"student": {"step": "distill", "teacher": "some/teacher", "teacher_cache": given}}
        read = read_recipe(write(tmp_path / "r.yaml", yaml.safe_dump({"data": "d.csv", "steps": steps})))
        assert getattr(read.steps["student"], "teacher_cache", None) == str(meant)


def test_the_demo_can_be_copied_elsewhere(tmp_path: Path) -> None:
    copied = Path(shutil.copy(DEMO, tmp_path / "mine.yaml"))
    assert read_recipe(copied) == read_recipe(DEMO)
