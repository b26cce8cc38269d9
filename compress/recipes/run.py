"""The recipe's loop: run the steps in order, skip those that are up to date, go on where it stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress import steps
from compress.clock import Stopwatch, in_words
from compress.config import DataConfig
from compress.data import read_dataset, write_dataset
from compress.errors import CompressError
from compress.folder import new_folder
from compress.machine import processes
from compress.paths import local_path
from compress.progress import say
from compress.recipes.fingerprints import STATE, RunState, digest_source, fingerprint_of
from compress.recipes.recipe import FILES, Recipe, Step, read_recipe
from compress.steps.step import StepResult
from compress.version import __version__

LOCK = ".lock"


def run(
    recipe: str | Path | Recipe, out: str | Path, *, seed: int | str | None = None, overwrite: bool = False
) -> dict[str, StepResult]:
    """Run every step of a recipe into ``out``; started again, redo only what changed.

    A step is skipped where its folder is whole and was made with the same settings, the same inputs (by digest) and the
    same version of this package.

    Args:
        recipe: a YAML or TOML file, or a recipe in memory.
        out: the folder that gets ``data/`` and one folder a step.
        seed: instead of the recipe's own.
        overwrite: forget what ``out`` holds and run every step.

    Returns:
        The result of each step that ran, by its name; those that were up to date are not in it.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(Path(recipe))
    if seed is not None:
        recipe = Recipe.parse(recipe.model_dump(exclude_unset=True) | {"seed": seed})
    if processes() > 1:
        raise CompressError("run: runs in one process; start single steps under torchrun or accelerate launch")
    folder = _open(local_path(out))
    try:
        with FileLock(folder / LOCK, timeout=0):
            try:
                return _run(recipe, RunState(folder, forget=overwrite))
            finally:
                _remove_if_unused(folder)
    except Timeout:
        raise CompressError(f"--out {out}: another run is writing there; wait for it or choose another") from None


def _run(recipe: Recipe, state: RunState) -> dict[str, StepResult]:
    watch, done = Stopwatch(), {}
    _prepare_data(recipe.data, state)
    for number, (name, step) in enumerate(recipe.steps.items(), start=1):
        title = f"[{number}/{len(recipe.steps)}] {name}"
        inputs = _inputs(step, recipe, state)
        fingerprint = _fingerprint(step, recipe, inputs, state)
        if state.is_fresh(name, fingerprint):
            say(f"{title}: up to date")
            continue
        say(f"{title}: {step.command}")
        state.clear_damaged(name)
        done[name] = _call(step, recipe, inputs, state.folder / name, state.folder / "data")
        if not done[name].metrics.get("failed"):  # a model that bench could not measure is tried again
            state.record(name, fingerprint)
    say(f"{state.folder}: {len(done)} of {len(recipe.steps)} steps run in {in_words(watch.seconds)}")
    return done


def _call(step: Step, recipe: Recipe, inputs: dict[str, Any], out: Path, data: Path) -> StepResult:
    settings = _settings(step, recipe) | inputs
    function = getattr(steps, step.command)
    result: StepResult = function(
        out=out, overwrite=out.exists(), **({"data": data} if _takes_data(step) else {}), **settings
    )
    return result


def _takes_data(step: Step) -> bool:
    return step.command != "export"


def _settings(step: Step, recipe: Recipe) -> dict[str, Any]:
    """The settings that the recipe gives the step, with the recipe's seed where the step has none of its own."""
    given = step.model_dump(exclude={"step", *step.inputs}, exclude_unset=True)
    inherited: dict[str, Any] = {"seed": recipe.seed} if "seed" in type(step).model_fields else {}
    if "unlabeled" in given and recipe.data.text:
        inherited["unlabeled_text"] = recipe.data.text
    return inherited | given


def _inputs(step: Step, recipe: Recipe, state: RunState) -> dict[str, Any]:
    """Each model that the step reads: the folder of an earlier step, or what the recipe names."""

    def resolve(value: str) -> str:
        return str(state.folder / value) if value in recipe.steps else value

    found = {}
    for field in step.inputs:
        value = getattr(step, field)
        if value is not None:
            found[field] = [resolve(one) for one in value] if isinstance(value, list) else resolve(value)
    return found


def _fingerprint(step: Step, recipe: Recipe, inputs: dict[str, Any], state: RunState) -> str:
    sources = [value for given in inputs.values() for value in (given if isinstance(given, list) else [given])]
    sources += [value for field in FILES if (value := getattr(step, field, None)) is not None]
    seed = {name: value for name, value in _settings(step, recipe).items() if name == "seed"}
    whole = {
        "step": step.command,
        "settings": step.model_dump(mode="json", exclude=set(step.inputs)) | seed,
        "inputs": [(list(inputs), [digest_source(source) for source in sources])],
        "data": state.output("data") if _takes_data(step) else None,
        "version": __version__,
    }
    return fingerprint_of(whole)


def _prepare_data(config: DataConfig, state: RunState) -> None:
    """The splits as used, written once for all steps."""
    named = [name for name in (config.data, config.train, config.validation, config.test) if name is not None]
    whole = [config.model_dump(mode="json"), [digest_source(name) for name in named], __version__]
    fingerprint = fingerprint_of(whole)
    if state.is_fresh("data", fingerprint):
        return
    dataset = read_dataset(config)
    state.clear_damaged("data")
    with new_folder(state.folder / "data", overwrite=True) as folder:
        write_dataset(dataset, folder)
        rows = {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)}
        about = {"task": dataset.task, "labels": dataset.labels, "rows": rows}
        (folder / "dataset.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    say(
        f"data: {dataset.task}, {len(dataset.labels)} labels, " + ", ".join(f"{n:,} {name}" for name, n in rows.items())
    )
    state.record("data", fingerprint)


def _open(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / STATE).is_file())):
        raise CompressError(f"--out {out}: exists and is not the folder of a run; choose another")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (out / STATE).exists():
            (out / STATE).write_text("{}\n", encoding="utf-8")
    except OSError as error:
        raise CompressError(f"--out {out}: cannot be written ({error.strerror}); choose another place") from None
    return out


def _remove_if_unused(folder: Path) -> None:
    """A run that failed before it wrote anything leaves no folder behind."""
    if {path.name for path in folder.iterdir()} <= {STATE, LOCK}:
        shutil.rmtree(folder)
