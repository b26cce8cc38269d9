"""A training's files: its metrics, and checkpoints from which the same command goes on if it was killed."""

import hashlib
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from compress.clock import Stopwatch
from compress.config import TrainingConfig
from compress.durable import disk_failure, put_in_place, read_sealed, remove, sync, write_sealed
from compress.errors import CompressError
from compress.folder import digest_tree
from compress.progress import say
from compress.training.batches import Examples
from compress.training.process_state import random_state, restore_random
from compress.version import __version__

_STATE, _ABOUT = "state.pt", "checkpoint.json"
_LAYOUT = 4  # of these files; checkpoints of another layout are thrown away

TrainingState = dict[str, Any]
"""A training's whole state: tensors and what JSON can hold, by name."""


@dataclass(frozen=True)
class RunFiles:
    """Where a training writes its metrics and checkpoints.

    ``inputs`` is a digest of everything beside data and settings on which the result depends, such as the teacher; a
    training resumes only from checkpoints with the same ``inputs``.
    """

    folder: Path  # the step's new folder; gets metrics.jsonl
    unfinished: Path  # gets the checkpoints, until the step is done
    inputs: str = ""
    steps_before: int = 0  # training steps of the same step's earlier trainings, from which metrics.jsonl counts on


class MetricsLog:
    """Losses, learning rates and metrics by step, in ``metrics.jsonl`` and in a tracker if the settings name one.

    It holds no times: equal trainings write equal files. Only the main process writes.
    """

    def __init__(self, run_files: RunFiles, config: TrainingConfig, accelerator: Accelerator) -> None:
        self.records: list[dict[str, float]] = []
        self._steps_before = run_files.steps_before
        self._accelerator = accelerator
        self._file = run_files.folder / "metrics.jsonl" if accelerator.is_main_process else None
        if config.track is not None:
            accelerator.init_trackers("compress", config=_flat(config.model_dump(mode="json")))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log ``values`` of step ``step`` of this training."""
        self.load([{"step": self._steps_before + step, **values}])

    def load(self, records: list[dict[str, float]]) -> None:
        """Log ``records``, which may be a checkpoint's: the file of the killed process may be lost."""
        self.records += records
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
        for record in records:
            values = {name: value for name, value in record.items() if name != "step"}
            self._accelerator.log(values, step=int(record["step"]))

    def close(self) -> None:
        """Let the tracker finish."""
        for tracker in self._accelerator.trackers:
            tracker.finish()


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: lists become text, and None is left out."""
    flat = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    return {name: value for name, value in flat.items() if value is not None}


class Checkpoints:
    """Writes the training's whole state every ``every_s`` seconds, and finds the newest sound checkpoint.

    A checkpoint is a folder ``step-N``: the state, the random generators of each process, and ``checkpoint.json`` with
    the identity of the training and the digests of these files. Checkpoints with another ``identity`` are thrown away.
    """

    def __init__(self, run_files: RunFiles, identity: str, every_s: float, accelerator: Accelerator) -> None:
        self._folder = run_files.unfinished
        self._identity = identity
        self._every_s = every_s
        self._accelerator = accelerator
        self._since = Stopwatch()
        self._random = f"random-{accelerator.process_index}.pt"

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._since.seconds >= self._every_s

    def newest(self) -> tuple[int, TrainingState] | None:
        """The steps done by the newest sound checkpoint of this training, and its state.

        A damaged checkpoint is reported and left alone, and the next older one is taken. The random generators of this
        process go back to where they were.
        """
        for folder in sorted(self._folder.glob("step-*[0-9]"), reverse=True):
            try:
                if _sound_identity(folder) != self._identity:
                    self._forget_all()
                    return None
                generators, state = (
                    torch.load(folder / file, "cpu", weights_only=True) for file in (self._random, _STATE)
                )
                restore_random(generators)
            except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError) as error:
                self._say(f"{folder}: a damaged checkpoint ({_one_line(error)}); going on without it")
                continue
            return int(folder.name.removeprefix("step-")), state
        return None

    def save(self, step: int, state: TrainingState) -> None:
        """Write a complete checkpoint or none, and remove older ones; every process must call this method."""
        complete = self._folder / f"step-{step:09d}"
        partial = complete.with_suffix(".partial")
        try:
            self._write(complete, partial, state)
        except (OSError, RuntimeError) as error:  # PyTorch hides that the disk is full behind an error of its own
            reason = disk_failure(error) or (error.strerror if isinstance(error, OSError) else None)
            if reason is None:
                raise
            shutil.rmtree(partial, ignore_errors=True)
            size_mb = _size_bytes(state) / 1e6
            raise CompressError(
                f"{self._folder}: a checkpoint of {size_mb:,.0f} MB cannot be written ({reason}); "
                "free some space, then run the same command again to go on"
            ) from None
        self._since = Stopwatch()

    def _write(self, complete: Path, partial: Path, state: TrainingState) -> None:
        main = self._accelerator.is_main_process
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        _save(random_state(), partial / self._random)
        self._accelerator.wait_for_everyone()
        if main:
            _save(state, partial / _STATE)
            files = {path.name: digest_tree(path) for path in partial.iterdir()}
            write_sealed(partial / _ABOUT, {"identity": self._identity, "files": files})
            sync(partial)
            remove(complete)  # a damaged one that was left
            put_in_place(partial, complete)
            for old in self._folder.iterdir():
                if old != complete:
                    remove(old)

    def _forget_all(self) -> None:
        self._accelerator.wait_for_everyone()  # all processes have read it
        self._say(f"{self._folder}: an unfinished training with other settings or data; starting anew")
        if self._accelerator.is_main_process:
            remove(self._folder)

    def _say(self, message: str) -> None:
        if self._accelerator.is_main_process:
            say(message)


def _sound_identity(folder: Path) -> str:
    """The identity of the training that wrote a checkpoint, once all of its files are known to be as it wrote them.

    Raises:
        ValueError: a file changed.
        OSError: a file cannot be read.
    """
    about = read_sealed(folder / _ABOUT)
    for name, digest in about["files"].items():
        if digest_tree(folder / name) != digest:
            raise ValueError(f"{name} changed since it was written")
    return str(about["identity"])


def _save(state: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:  # given a path, PyTorch would not keep what the system says of a full disk
        torch.save(state, file)


def _one_line(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{Path(error.filename).name} is missing"
    return next(iter(str(error).splitlines()), type(error).__name__)


def _size_bytes(state: object) -> int:
    """Bytes of all tensors in ``state``."""
    if isinstance(state, dict):
        return sum(map(_size_bytes, state.values()))
    return state.nbytes if isinstance(state, torch.Tensor) else 0


def identity_of(
    modules: Iterable[nn.Module], sets: Iterable[Examples], config: TrainingConfig, run_files: RunFiles, processes: int
) -> str:
    """Digest of everything on which a training's result depends; it resumes only from checkpoints with the same digest.

    The weights of ``modules`` are those that they start from; ``sets`` are the train and validation texts.
    """
    settings = config.model_dump(mode="json", exclude=config.without_effect())
    parts = [settings, run_files.inputs, processes, __version__, _LAYOUT]
    sha256 = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for module in modules:
        for name, weight in sorted(module.state_dict().items()):
            sha256.update(name.encode())
            sha256.update(np.ascontiguousarray(weight.detach().cpu().numpy()).data)
    for examples in sets:
        encodings = examples.encodings
        for array in (encodings.ids, encodings.type_ids, encodings.offsets, examples.targets):
            sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()
