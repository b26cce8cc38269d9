"""Run the steps of a recipe in order, and skip those whose folder is still what the recipe would make."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from compress.clock import Stopwatch, in_words
from compress.config import DataConfig, Names
from compress.data import write_dataset
from compress.data.read import read_dataset
from compress.durable import parse_json, write_whole
from compress.errors import CompressError
from compress.folder import MANIFEST, digest_tree, read_manifest
from compress.machine import processes
from compress.new_folder import check_outside, growing_folder, is_ours, new_folder
from compress.paths import local_path
from compress.progress import dropping_held, say
from compress.recipes.recipe import Recipe, Step, read_recipe
from compress.steps.spec import STEPS
from compress.steps.step import DoneInterrupt, StepResult
from compress.version import __version__

STATE = "run.json"


def run(
    recipe: str | Path | Recipe, out: str | Path, *, seed: int | str | None = None, overwrite: bool = False
) -> dict[str, StepResult]:
    """Run every step of a recipe into ``out``; run again, redo only what changed.

    A step is skipped where its folder is whole and was made with the same settings, the same inputs (by digest) and the
    same version of this package.

    Args:
        recipe: a YAML or TOML file, or a :class:`compress.recipes.recipe.Recipe`, as its ``parse`` makes it of a dict.
        out: the folder that gets ``data/`` and one folder a step.
        seed: the seed to use instead of the recipe's own.
        overwrite: forget what ``out`` holds and run every step.

    Returns:
        The results of the steps that ran, by name; steps that were up to date are left out.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    if seed is not None:
        recipe = Recipe.parse(recipe.model_dump(exclude_unset=True) | {"seed": seed})
    if processes() > 1:
        raise CompressError("run: runs in one process; start single steps under torchrun or accelerate launch")
    folder = local_path(out, "--out")
    check_outside(folder, (local_path(model) for _, _, model in recipe.models() if model not in recipe.steps))
    with dropping_held(), growing_folder(folder, "run", STATE, state_is_worth_keeping=False):
        return _run(recipe, RunState(folder, forget=overwrite))


def _run(recipe: Recipe, state: "RunState") -> dict[str, StepResult]:
    watch, done = Stopwatch(), {}
    rows = _prepare_data(recipe.data, state)
    for number, name in enumerate(recipe.steps, start=1):
        title = f"[{number}/{len(recipe.steps)}] {name}"
        step = _resolved(name, recipe, state.folder)
        takes_data = STEPS[step.command].takes_data
        fingerprint = _fingerprint(step, rows if takes_data else None)
        if state.is_fresh(name, fingerprint):
            say(f"{title}: up to date")
            continue
        say(f"{title}: {step.command}")
        state.clear_damaged(name)
        settings = step.model_dump(exclude={"step"}, exclude_unset=True)
        settings |= {"data": state.folder / "data"} if takes_data else {}
        out = state.folder / name
        stop: DoneInterrupt | None = None
        try:
            done[name] = STEPS[step.command].call(out=out, overwrite=True, **settings)
        except DoneInterrupt as interrupt:
            done[name], stop = interrupt.result, interrupt
        if not done[name].metrics.get("failed"):  # a model that bench could not measure is tried again
            state.record(name, fingerprint)
        if stop is not None:
            raise stop
    say(f"{state.folder}: {len(done)} of {len(recipe.steps)} steps run in {in_words(watch.seconds)}")
    return done


def _resolved(name: str, recipe: Recipe, folder: Path) -> Step:
    """The step with the names of earlier steps replaced by their folders, and the recipe's seed if it has none."""
    step, earlier = recipe.steps[name], recipe.earlier(name)
    inherited: dict[str, Any] = {"seed": recipe.seed}
    if (getattr(step, "unlabeled", None) or getattr(step, "teacher_answers", None)) and recipe.data.text:
        inherited["unlabeled_text"] = recipe.data.text
    lacking = set(type(step).model_fields) - step.model_fields_set
    step = step.model_copy(update={name: value for name, value in inherited.items() if name in lacking})
    return step.renamed(lambda model: str(folder / model) if model in earlier else model, Names.MODEL)


def _fingerprint(step: Step, data: list[str] | None) -> str:
    """The digest of all that decides a step's result; models and files count by their content, not by their names."""
    sources = step.sources()
    return _fingerprint_of(
        {
            "settings": step.model_dump(mode="json", exclude={*sources, *step.without_effect()}),
            "inputs": {name: [digest_source(source) for source in named] for name, named in sources.items()},
            "data": data,
            "version": __version__,
        }
    )


def _prepare_data(config: DataConfig, state: "RunState") -> list[str]:
    """Write the splits as used, once for all steps; return the digests of their files, wherever they came from."""
    sources = [digest_source(source) for named in config.sources().values() for source in named]
    fingerprint = _fingerprint_of([config.model_dump(mode="json"), sources, __version__])
    if not state.is_fresh("data", fingerprint):
        dataset = read_dataset(config)
        state.clear_damaged("data")
        with new_folder(state.folder / "data", overwrite=True) as folder:
            write_dataset(dataset, folder)
            rows = {name: len(split) for name, split in dataset.splits.items()}
            read = dataset.source.as_dict() if dataset.source else None
            about = {"task": dataset.task, "labels": dataset.labels, "rows": rows, "read": read}
            (folder / "dataset.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        state.record("data", fingerprint)
    return [digest_source(str(file)) for file in sorted((state.folder / "data").glob("*.jsonl"))]


def _fingerprint_of(value: object) -> str:
    """The sha256 of a value that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_source(source: str) -> str:
    """The digest of a model, folder or file by its content; the name itself where there is no such path: a hub id."""
    path = local_path(source)
    try:
        if (path / MANIFEST).is_file():
            # The digest of the files it lists: the manifest itself has times in it, which always differ.
            return read_manifest(path).digest
        return digest_tree(path) if path.exists() else source
    except OSError as error:
        place = error.filename or path
        raise CompressError(f"{place}: {error.strerror or error}; give files and folders that can be read") from None


class RunState:
    """``run.json``: the fingerprint of the inputs of each step that was run, and the digest of its output."""

    def __init__(self, folder: Path, *, forget: bool) -> None:
        self.folder = folder
        self._steps: dict[str, dict[str, str]] = {}
        if not (folder / STATE).exists():
            write_whole(folder / STATE, "{}\n")  # marks the folder as a run's
        try:
            remembered = parse_json((folder / STATE).read_bytes()).get("steps", {})
            # With ``forget`` all is made again; the names still say which folders are a run's own.
            self._steps = {name: {} if forget else dict(entry) for name, entry in remembered.items()}
        except (ValueError, AttributeError, TypeError):
            say(f"{folder / STATE}: damaged, every step runs again")

    def is_fresh(self, name: str, fingerprint: str) -> bool:
        """Whether the folder ``name`` is complete, unchanged, and was made from inputs with this ``fingerprint``."""
        known = self._steps.get(name, {})
        return known.get("fingerprint") == fingerprint and known.get("output") == _output(self.folder / name)

    def clear_damaged(self, name: str) -> None:
        """Delete the folder ``name`` if a run made it and the file that marks it as ours is lost."""
        folder = self.folder / name
        if name in self._steps and folder.is_dir() and not is_ours(folder):
            shutil.rmtree(folder)

    def record(self, name: str, fingerprint: str) -> None:
        """Record the folder ``name`` as it is now; the file is replaced atomically."""
        self._steps[name] = {"fingerprint": fingerprint, "output": _output(self.folder / name) or ""}
        text = json.dumps({"format_version": 1, "steps": self._steps}, indent=2) + "\n"
        write_whole(self.folder / STATE, text)


def _output(folder: Path) -> str | None:
    """The digest of a step's whole folder; None where the folder is missing, damaged or changed."""
    try:
        return digest_source(str(folder)) if folder.is_dir() else None
    except CompressError:
        return None
