"""A step is declared once: command, help, schema, recipe class and public function come from the declaration."""

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import compress
from compress.config import Names
from compress.errors import CompressError
from compress.recipes.recipe import STEP_CLASSES, json_schema
from compress.steps.spec import STEPS
from tests.processes import COMMANDS_IN_FORKS
from tests.tiny import write_rows

THROWAWAY = '''
import json
from typing import Annotated, ClassVar

from pydantic import Field

from compress.config import Names, Settings
from compress.steps.spec import STEPS, ModelInput, StepSpec
from compress.steps.step import step


class WeighConfig(Settings):
    """weigh: compare the sizes of two models."""

    command: ClassVar[str] = "weigh"
    scale: Annotated[str | None, Names.FILE] = Field(default=None, description="file with the unit of weight")


def weigh(small, large, out, *, overwrite=False, **settings):
    with step(WeighConfig, settings, out, overwrite, inputs=(small, large)) as job:
        (job.folder / "results.json").write_text(json.dumps({"machine": {}, "models": [str(small), str(large)]}))
        return job.result({"scale": job.config.scale})


inputs = (ModelInput("small", "the lighter model", "SMALL"), ModelInput("large", "the heavier model", "LARGE"))
STEPS["weigh"] = StepSpec("weigh", "compare two models", inputs, "throwaway", "WeighConfig", takes_data=False)
'''


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A folder in which ``throwaway.py`` declares one more step."""
    (tmp_path / "throwaway.py").write_text(THROWAWAY, encoding="utf-8")
    (tmp_path / "scale.txt").write_text("tons", encoding="utf-8")
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    write_rows(tmp_path / "d.jsonl", [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(40)])
    return tmp_path


def commands(workshop: Path, *given: list[str]) -> list[str]:
    """What the command line prints for each where the throwaway step is declared."""
    program = "import throwaway\n" + COMMANDS_IN_FORKS
    command = [sys.executable, "-c", program, json.dumps(given)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=workshop).stdout
    printed = []
    for status, stdout, stderr in json.loads(told):
        assert status == 0, stderr
        printed.append(stdout)
    return printed


def test_a_new_step_needs_its_declaration_alone(workshop: Path) -> None:
    overview, shown, schema_told, told = commands(
        workshop,
        ["--help"],
        ["weigh", "--help"],
        ["run", "--schema"],
        ["weigh", "small", "large", "--scale", "scale.txt", "--out", "a", "--json"],
    )
    assert "weigh compare two models" in " ".join(overview.split())
    assert shown.startswith("usage: compress weigh SMALL LARGE --out DIR [settings]")
    for words in ("the lighter model", "--scale FILE", "file with the unit of weight"):
        assert words in shown
    assert "--data" not in shown

    schema = json.loads(schema_told)["$defs"]["WeighStep"]
    assert list(schema["properties"]) == ["scale", "step", "small", "large"]
    assert schema["required"] == ["step", "small", "large"]

    document = json.loads(told)
    assert (document["step"], document["metrics"]) == ("weigh", {"scale": "scale.txt"})


def test_a_recipe_runs_a_new_step_and_looks_at_the_files_that_it_names(workshop: Path) -> None:
    steps = {
        "first": {"step": "weigh", "small": "small", "large": "large", "scale": "scale.txt"},
        "second": {"step": "weigh", "small": "first", "large": "large"},
    }
    (workshop / "r.yaml").write_text(yaml.safe_dump({"data": "d.jsonl", "steps": steps}), encoding="utf-8")

    again = ["run", "r.yaml", "--out", "runs", "--json"]
    done, redone = map(json.loads, commands(workshop, again, again))
    assert (list(done), redone) == (["first", "second"], {})
    found = json.loads((workshop / "runs" / "second" / "results.json").read_text(encoding="utf-8"))
    assert found["models"] == [str(Path("runs/first")), str(workshop / "large")]
    (workshop / "scale.txt").write_text("grams", encoding="utf-8")
    (told,) = commands(workshop, again)
    assert list(json.loads(told)) == ["first"]


@pytest.mark.parametrize("name", STEPS)
def test_a_declaration_agrees_with_its_settings_and_its_function(name: str) -> None:
    spec = STEPS[name]
    assert spec.settings.command == spec.name == name
    parameters = list(inspect.signature(spec.call).parameters)
    data = ["data"] if spec.takes_data else []
    assert parameters == [*(model.name for model in spec.inputs), *data, "out", "overwrite", "settings"]
    assert getattr(compress, name) is spec.call


def test_steps_of_recipes_are_the_steps_in_the_same_order() -> None:
    assert (
        list(STEP_CLASSES)
        == list(STEPS)
        == [*("finetune", "distill", "prune", "export", "quantize", "calibrate", "cascade", "bench")]
    )
    defined = json.loads(json_schema())["$defs"]
    assert {f"{name.capitalize()}Step" for name in STEPS} < defined.keys()


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse(Path(compress.__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {alias.asname for node in imports for alias in node.names if alias.asname} == {
        *compress.__all__,
        "__version__",
    }


def settings_that_name_an_input() -> Iterator[tuple[str, str]]:
    for name, spec in STEPS.items():
        yield from ((name, model.name) for model in spec.inputs)
        for group in spec.groups:
            yield from ((name, setting) for setting in sorted(group.marked(Names.DATA, Names.FILE, Names.MODEL)))


@pytest.mark.parametrize(("step", "setting"), list(settings_that_name_an_input()))
def test_out_never_holds_what_a_setting_names(step: str, setting: str, tmp_path: Path) -> None:
    spec, out = STEPS[step], tmp_path / "out"
    out.mkdir()
    (out / "dataset.json").write_text('{"task": "", "rows": {}}', encoding="utf-8")  # ours, so it may be replaced
    (out / "input").touch()
    given: dict[str, object] = {model.name: "elsewhere" for model in spec.inputs}
    given |= {"data": "elsewhere.csv"} if spec.takes_data else {}
    given |= {"ffn": 0.5} if step == "prune" else {}
    with pytest.raises(CompressError, match="holds the input"):
        spec.call(**given | {setting: str(out / "input")}, out=out, overwrite=True)
    assert (out / "input").is_file()
