"""What every step does around its work: settings checked, a folder that is whole or absent, and its history entry."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from compress.clock import Stopwatch
from compress.config import DataConfig, Settings, ThreadsConfig, TrainingConfig
from compress.errors import CompressError
from compress.folder import Kind, Manifest, being_written, new_folder
from compress.machine import is_main_process, package_versions, processes, usable_cpus, use_threads
from compress.paths import local_path
from compress.progress import be_quiet

if TYPE_CHECKING:
    from compress.modeling.checkpoint import Checkpoint
    from compress.training.checkpointing import RunFiles

_PACKAGES = ("compress-bert", "torch", "transformers", "accelerate", "torch-pruning", "onnx", "onnxruntime", "numpy")

Config = TypeVar("Config", bound=Settings)


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    Attributes:
        step: its name.
        folder: the folder that it wrote.
        seconds: how long it took.
        metrics: what it measured on the way.
        written: whether the folder was written; a dry run leaves it as it was.
    """

    step: str
    folder: Path
    seconds: float
    metrics: Mapping[str, Any]
    written: bool = True


@dataclass(frozen=True)
class Job(Generic[Config]):
    """One run of a step: its checked settings and the folder to write into, which becomes ``out`` at the end."""

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
        """Where the step's training keeps its diary and its checkpoints."""
        from compress.training.checkpointing import RunFiles

        return RunFiles(self.folder, _unfinished(self.out))

    def save_torch(self, checkpoint: "Checkpoint", metrics: dict[str, Any]) -> StepResult:
        """Write a PyTorch model; the checkpoint's history and digest are its parent's."""
        from compress.modeling.checkpoint import save_checkpoint

        if is_main_process():
            history = self._extended(checkpoint.history, metrics, checkpoint.digest, checkpoint.source)
            save_checkpoint(replace(checkpoint, history=history), self.folder)
        return self.result(metrics)

    def save_onnx(
        self, parent: Manifest, metrics: dict[str, Any], digest: str | None, source: str, kind: Kind = "onnx"
    ) -> StepResult:
        """Finish an ONNX folder whose graph and side files are written."""
        from compress.packaging.layout import finish_onnx_folder

        history = self._extended(parent.history, metrics, digest, source)
        finish_onnx_folder(self.folder, self.out.name, replace(parent, kind=kind, history=history, files=()))
        return self.result(metrics)

    def result(self, metrics: Mapping[str, Any]) -> StepResult:
        """What the caller gets."""
        return StepResult(self.config.command, self.out, self.watch.seconds, metrics)

    def _about(self) -> dict[str, Any]:
        return {}

    def _extended(
        self, history: Sequence[dict[str, Any]], metrics: dict[str, Any], digest: str | None, source: str
    ) -> tuple[dict[str, Any], ...]:
        entry = {
            "step": self.config.command,
            "config": self.config.model_dump(mode="json"),
            "seed": getattr(self.config, "seed", None),
            "packages": {name: found for name, found in package_versions(_PACKAGES).items() if found},
            "seconds": round(self.watch.seconds, 1),
            "metrics": metrics,
            "parent": {"source": source, "digest": digest},
            **self._about(),
        }
        return (*history, entry)


@dataclass(frozen=True)
class DataJob(Job[Config]):
    """A job that reads data too."""

    data: DataConfig

    def _about(self) -> dict[str, Any]:
        return {"data": self.data.model_dump(mode="json", exclude_defaults=True)}


@contextmanager
def step(
    kind: type[Config], settings: dict[str, Any], out: str | Path, overwrite: bool, inputs: Sequence[str | Path]
) -> Iterator[Job[Config]]:
    """A job without data: its settings are checked and its folder is free before any work is done."""
    watch, config, place = Stopwatch(), kind.parse(settings), local_path(out)
    named = [getattr(config, name, None) for name in ("student", "teacher", "unlabeled")]
    sources = tuple(local_path(source) for source in (*inputs, *named) if source is not None)
    if processes() > 1 and not isinstance(config, TrainingConfig):
        raise CompressError(f"{config.command}: runs in one process; start it without torchrun or accelerate launch")
    if isinstance(config, TrainingConfig):
        _check_tracker(config.track)
    with _own_folder(place, overwrite, sources) as folder:
        if isinstance(config, ThreadsConfig):
            use_threads(config.threads)
        yield Job(config, folder, place, watch)
    if is_main_process():
        shutil.rmtree(_unfinished(place), ignore_errors=True)


def _check_tracker(name: str | None) -> None:
    """Refuse a tracker that is not installed, which accelerate would leave out in silence."""
    modules = {name, "tensorboardX"} if name == "tensorboard" else {name}
    if name is not None and not any(find_spec(module) for module in modules if module):
        raise CompressError(f"--track {name}: is not installed; 'pip install {name}', or leave it out")


@contextmanager
def _own_folder(out: Path, overwrite: bool, inputs: tuple[Path, ...]) -> Iterator[Path]:
    """The folder that becomes ``out``; of processes that train together only the main one has it, and speaks."""
    if is_main_process():
        with new_folder(out, overwrite=overwrite, inputs=inputs) as folder:
            if being_written(out):
                raise CompressError(f"--out {out}: another process is writing it; wait for it, or choose another")
            yield folder
    else:
        be_quiet(True)
        with TemporaryDirectory() as nowhere:
            yield Path(nowhere)
    if processes() > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()  # nobody goes on before ``out`` is there


def _unfinished(out: Path) -> Path:
    """Where checkpoints stay when a step is killed; beside ``out``, which is complete or absent."""
    return out.parent / f".{out.name}.unfinished"


@contextmanager
def data_step(
    kind: type[Config],
    settings: dict[str, Any],
    data: str | Path,
    out: str | Path,
    overwrite: bool,
    inputs: Sequence[str | Path],
) -> Iterator[DataJob[Config]]:
    """A job with data: ``settings`` may hold the data's own too (``text``, ``label``, ...)."""
    source = DataConfig.take(settings | {"data": str(data)})
    rest = {name: value for name, value in settings.items() if name not in DataConfig.model_fields}
    files = [file for file in (source.train, source.validation, source.test) if file is not None]
    with step(kind, rest, out, overwrite, (*inputs, data, *files)) as job:
        yield DataJob(job.config, job.folder, job.out, job.watch, source)
