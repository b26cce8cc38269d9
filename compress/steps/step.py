"""The frame of every step: its settings are checked, and its folder is written whole or not at all."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from compress.clock import Stopwatch
from compress.config import DataConfig, Settings, ThreadsConfig, TrainingConfig
from compress.data.dataset import Dataset
from compress.errors import CompressError
from compress.folder import Manifest
from compress.formatting import kind, some
from compress.machine import (
    is_installed,
    is_main_process,
    package_versions,
    processes,
    torch_threads,
    usable_cpus,
)
from compress.manifest_entries import Kind
from compress.new_folder import new_folder, unfinished
from compress.paths import local_path
from compress.progress import be_quiet, dropping_held

if TYPE_CHECKING:
    from compress.modeling.checkpoint import Checkpoint
    from compress.training.run_files import RunFiles

_PACKAGES = ("compress-bert", "torch", "transformers", "accelerate", "onnx", "onnxruntime", "numpy")

Config = TypeVar("Config", bound=Settings)


@dataclass(frozen=True)
class StepResult:
    """What a step returns.

    Attributes:
        step: the step's name.
        folder: the folder that it wrote.
        seconds: how long it took.
        metrics: what it measured, by name.
        written: whether it wrote the folder; a dry run does not.
    """

    step: str
    folder: Path
    seconds: float
    metrics: Mapping[str, Any]
    written: bool = True


class DoneInterrupt(KeyboardInterrupt):
    """Ctrl-C that came too late: the step is complete, with this ``result``."""

    def __init__(self, message: str, result: StepResult) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Job(Generic[Config]):
    """One run of a step: its checked settings, and the folder to write into, which is renamed to ``out`` at the end."""

    config: Config
    folder: Path
    out: Path
    watch: Stopwatch

    @property
    def threads(self) -> int:
        """CPU threads to use."""
        wanted = self.config.threads if isinstance(self.config, ThreadsConfig) else None
        return wanted or usable_cpus()

    def run_files(self) -> "RunFiles":
        """Where the step's training keeps its metrics and its checkpoints."""
        from compress.training.run_files import RunFiles

        return RunFiles(self.folder, unfinished(self.out))

    def save_torch(self, checkpoint: "Checkpoint", metrics: dict[str, Any]) -> StepResult:
        """Write a PyTorch model; the history and digest in ``checkpoint`` are its parent's."""
        from compress.modeling.checkpoint import save_checkpoint

        if is_main_process():
            history = self._extended(checkpoint.history, metrics, checkpoint.digest, checkpoint.source)
            if checkpoint.head:
                history[-1].setdefault("read", {})["head"] = checkpoint.head
            save_checkpoint(replace(checkpoint, history=history), self.folder)
        return self.result(metrics)

    def save_onnx(
        self,
        parent: Manifest,
        metrics: dict[str, Any],
        digest: str | None,
        source: str,
        kind: Kind = "onnx",
        about: Mapping[str, Any] | None = None,
    ) -> StepResult:
        """Finish an ONNX folder whose graph and side files are written; the history's entry also says ``about``."""
        from compress.packaging.layout import finish_onnx_folder

        history = self._extended(parent.history, metrics, digest, source)
        history[-1].update(about or {})
        finish_onnx_folder(self.folder, self.out.name, replace(parent, kind=kind, history=history, files=()))
        return self.result(metrics)

    def result(self, metrics: Mapping[str, Any]) -> StepResult:
        """The step's result, with the time that it took until now."""
        return StepResult(self.config.command, self.out, self.watch.seconds, metrics, not _is_dry_run(self.config))

    def _about(self) -> dict[str, Any]:
        return {}

    def _extended(
        self, history: Sequence[dict[str, Any]], metrics: dict[str, Any], digest: str | None, source: str
    ) -> tuple[dict[str, Any], ...]:
        entry = history_entry(self.config, self.watch.seconds, metrics, source, digest)
        return (*history, entry | self._about())


def history_entry(
    config: Settings, seconds: float, metrics: Mapping[str, Any], source: str, digest: str | None
) -> dict[str, Any]:
    """The entry of one step in a model's history; ``source`` and ``digest`` are its parent's."""
    return {
        "step": config.command,
        "config": config.model_dump(mode="json"),
        "seed": getattr(config, "seed", None),
        "packages": {name: version for name, version in package_versions(_PACKAGES).items() if version},
        "seconds": round(seconds, 1),
        "metrics": metrics,
        "parent": {"source": source, "digest": digest},
    }


@dataclass(frozen=True)
class DataJob(Job[Config]):
    """A job that reads data too."""

    data: DataConfig

    @cached_property
    def dataset(self) -> Dataset:
        """The data, read when first needed; a metric that does not suit them is refused."""
        from compress.data.read import read_dataset
        from compress.evaluation.metrics import choose_metric

        dataset = read_dataset(self.data)
        choose_metric(getattr(self.config, "metric", None), dataset.task, len(dataset.labels))
        return dataset

    def classifier(self, source: str | Path) -> "Checkpoint":
        """Load the classifier ``source``, whose task and labels must be the data's."""
        from compress.modeling.checkpoint import load_classifier

        checkpoint = load_classifier(str(source), pairs=self.dataset.pairs, labels=self.dataset.labels)
        check_labels(checkpoint, self.dataset, checkpoint.source)
        return checkpoint

    def _about(self) -> dict[str, Any]:
        source = self.dataset.source if "dataset" in vars(self) else None
        settings = self.data.model_dump(mode="json", exclude_defaults=True)
        return {"data": settings} | ({"read": source.as_dict()} if source else {})


@contextmanager
def step(
    kind: type[Config], settings: dict[str, Any], out: str | Path, overwrite: bool, inputs: Sequence[str | Path]
) -> Iterator[Job[Config]]:
    """Open a job without data. Before any work, check the settings, and that ``out`` is free and holds no input."""
    watch, config, place = Stopwatch(), kind.parse(settings), local_path(out, "--out")
    if processes() > 1 and not isinstance(config, TrainingConfig):
        raise CompressError(f"{config.command}: runs in one process; start it without torchrun or accelerate launch")
    if isinstance(config, TrainingConfig):
        _check_tracker(config.track)
    sources = (*map(local_path, inputs), *source_paths(config))
    threads = torch_threads(config.threads) if isinstance(config, ThreadsConfig) else nullcontext()
    new = _folder(place, overwrite, sources, temporary=_is_dry_run(config) or not is_main_process())
    with dropping_held(), ExitStack() as at_end, new as folder, threads:
        if isinstance(config, TrainingConfig):
            from compress.training.process_state import left_as_found

            at_end.enter_context(left_as_found())
        yield Job(config, folder, place, watch)


def model_list(models: Sequence[str | Path] | str | Path) -> list[str | Path]:
    """``models`` as a list; what is no list of models becomes its only element, which :func:`step` then checks."""
    return list(models) if isinstance(models, Iterable) and not isinstance(models, str | bytes) else [models]


def _is_dry_run(config: Settings) -> bool:
    """Whether the step is to write nothing, a setting that only prune has."""
    return bool(getattr(config, "dry_run", False))


def split_settings(settings: Mapping[str, Any], data: str | Path) -> tuple[DataConfig, dict[str, Any]]:
    """Split ``settings`` into the data's, which are checked, and the step's own."""
    if not isinstance(data, str | PathLike):
        raise CompressError(
            f"data must be a path or hub id, got {kind(data)}; write it to a file, such as CSV or Parquet"
        )
    of_data = settings.keys() & DataConfig.model_fields.keys()
    source = DataConfig.parse({name: settings[name] for name in of_data} | {"data": str(data)})
    return source, {name: value for name, value in settings.items() if name not in of_data}


def source_paths(config: Settings) -> list[Path]:
    """The paths of all models, files and data that the settings name; what cannot be a path is refused by its flag."""
    flags = {name: f"--{name.replace('_', '-')}" for name in config.sources()}
    return [local_path(value, flags[name]) for name, values in config.sources().items() for value in values]


@contextmanager
def data_step(
    kind: type[Config],
    settings: dict[str, Any],
    data: str | Path,
    out: str | Path,
    overwrite: bool,
    inputs: Sequence[str | Path],
) -> Iterator[DataJob[Config]]:
    """Open a job with data; ``settings`` may hold the data's too (``text``, ``label``, ...)."""
    source, own = split_settings(settings, data)
    with step(kind, own, out, overwrite, (*inputs, *source_paths(source))) as job:
        yield DataJob(job.config, job.folder, job.out, job.watch, source)


def _check_tracker(name: str | None) -> None:
    """Refuse a tracker that is not installed; accelerate would ignore it without a word."""
    if name is None:
        return
    modules = {name, "tensorboardX"} if name == "tensorboard" else {name}
    if not any(map(is_installed, modules)):
        raise CompressError(f"--track {name}: is not installed; 'pip install {name}', or leave it out")


@contextmanager
def _folder(out: Path, overwrite: bool, inputs: tuple[Path, ...], *, temporary: bool) -> Iterator[Path]:
    """The folder that becomes ``out``, or a temporary one; of processes that train together the main one prints."""
    if temporary:
        if not is_main_process():
            be_quiet(True)
        with TemporaryDirectory() as folder:
            yield Path(folder)
    else:
        with new_folder(out, overwrite=overwrite, inputs=inputs) as folder:
            yield folder
    if processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()  # nobody goes on before ``out`` is there


def check_labels(model: "Checkpoint | Manifest", dataset: Dataset, name: str) -> None:
    """Refuse a model whose task or set of labels is not the data's; the labels may be in another order."""
    if model.task != dataset.task:
        raise CompressError(
            f"{name}: is for {model.task} tasks, but the data is {dataset.task}; give the data it was trained on"
        )
    lacking, unknown = sorted(set(model.labels) - set(dataset.labels)), sorted(set(dataset.labels) - set(model.labels))
    if lacking or unknown:
        ours = getattr(model, "digest", None) is not None  # our folders' files must stay as they are
        rename = "" if ours else ", or write the data's names into id2label and label2id of its config.json"
        raise CompressError(
            f"{name}: its labels are not the data's; only the model has {some(lacking) or 'none'}, "
            f"only the data has {some(unknown) or 'none'}; "
            f"give the data it was trained on, or name the columns with --text and --label{rename}"
        )
