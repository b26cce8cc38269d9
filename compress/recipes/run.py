"""The recipe's loop: run the steps in order, skip those that are up to date, go on where it stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from compress.clock import Stopwatch, in_words
from compress.config import DataConfig, Names
from compress.data import read_dataset, write_dataset
from compress.errors import CompressError
from compress.folder import new_folder
from compress.machine import processes
from compress.paths import local_path
from compress.progress import say
from compress.recipes.fingerprints import STATE, RunState, digest_source, fingerprint_of
from compress.recipes.recipe import Recipe, Step, read_recipe
from compress.steps.spec import STEPS
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
    for number, (name, wanted) in enumerate(recipe.steps.items(), start=1):
        title = f"[{number}/{len(recipe.steps)}] {name}"
        step = _resolved(wanted, recipe, state.folder)
        takes_data = STEPS[step.command].takes_data
        fingerprint = _fingerprint(step, state.output("data") if takes_data else None)
        if state.is_fresh(name, fingerprint):
            say(f"{title}: up to date")
            continue
        say(f"{title}: {step.command}")
        state.clear_damaged(name)
        settings = step.model_dump(exclude={"step"}, exclude_unset=True)
        settings |= {"data": state.folder / "data"} if takes_data else {}
        out = state.folder / name
        done[name] = STEPS[step.command].call(out=out, overwrite=out.exists(), **settings)
        if not done[name].metrics.get("failed"):  # a model that bench could not measure is tried again
            state.record(name, fingerprint)
    say(f"{state.folder}: {len(done)} of {len(recipe.steps)} steps run in {in_words(watch.seconds)}")
    return done


def _resolved(step: Step, recipe: Recipe, folder: Path) -> Step:
    """The step with the folders of earlier steps for their names, and with the recipe's seed if it has none."""
    update: dict[str, Any] = {}
    for field, models in step.named(Names.MODEL).items():
        found = [str(folder / model) if model in recipe.steps else model for model in models]
        update[field] = found if isinstance(getattr(step, field), list) else found[0]
    inherited: dict[str, Any] = {"seed": recipe.seed}
    if getattr(step, "unlabeled", None) and recipe.data.text:
        inherited["unlabeled_text"] = recipe.data.text
    lacking = set(type(step).model_fields) - step.model_fields_set
    return step.model_copy(update=update | {name: value for name, value in inherited.items() if name in lacking})


def _fingerprint(step: Step, data: str | None) -> str:
    """Digest of all that decides a step's result; models and files count by their content, not by their names."""
    sources = step.sources()
    whole = {
        "settings": step.model_dump(mode="json", exclude={*sources, *step.without_effect()}),
        "inputs": {name: [digest_source(source) for source in found] for name, found in sources.items()},
        "data": data,
        "version": __version__,
    }
    return fingerprint_of(whole)


def _prepare_data(config: DataConfig, state: RunState) -> None:
    """The splits as used, written once for all steps."""
    sources = [digest_source(source) for found in config.sources().values() for source in found]
    fingerprint = fingerprint_of([config.model_dump(mode="json"), sources, __version__])
    if state.is_fresh("data", fingerprint):
        return
    dataset = read_dataset(config)
    state.clear_damaged("data")
    with new_folder(state.folder / "data", overwrite=True) as folder:
        write_dataset(dataset, folder)
        rows = {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)}
        read = dataset.source.as_dict() if dataset.source else None
        about = {"task": dataset.task, "labels": dataset.labels, "rows": rows, "read": read}
        (folder / "dataset.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
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
