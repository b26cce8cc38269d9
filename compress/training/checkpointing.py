"""Checkpoints of a training: killed at any moment, the same command goes on from the newest one."""

import hashlib
import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from compress.clock import Stopwatch
from compress.config import TrainingConfig
from compress.errors import CompressError
from compress.progress import say
from compress.training.batches import Examples
from compress.version import __version__

_STATE, _TENSORS, _IDENTITY = "state.json", "tensors.safetensors", "identity"
_LAYOUT = 2  # of these files; checkpoints of another layout are thrown away


@dataclass(frozen=True)
class RunFiles:
    """Where a training writes its metrics and checkpoints.

    Attributes:
        folder: the step's new folder; gets ``metrics.jsonl``.
        unfinished: gets the checkpoints, until the step is done.
        inputs: digest of everything else that decides the result, such as the teacher; a training resumes only from
            checkpoints with the same one.
        steps_before: steps of earlier trainings of the same step, from which ``metrics.jsonl`` counts on.
    """

    folder: Path
    unfinished: Path
    inputs: str = ""
    steps_before: int = 0


class Checkpoints:
    """Writes the training's whole state from time to time, and finds the newest checkpoint.

    Args:
        run_files: names the folder.
        identity: of the training; checkpoints of another training are thrown away.
        every_s: seconds between two checkpoints.
        accelerator: of the processes that train together; the main one writes.
    """

    def __init__(self, run_files: RunFiles, identity: str, every_s: float, accelerator: Accelerator) -> None:
        self._folder = run_files.unfinished
        self._identity = identity
        self._every_s = every_s
        self._accelerator = accelerator
        self._since = Stopwatch()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self._since.seconds >= self._every_s

    def newest(self) -> "tuple[int, Saved] | None":
        """The steps done by the newest complete checkpoint of this training, and its state for this process."""
        complete = max(self._folder.glob("step-*[0-9]"), default=None)
        if complete is None:
            return None
        if (complete / _IDENTITY).read_text(encoding="utf-8") == self._identity:
            return int(complete.name.removeprefix("step-")), Saved.read(complete, self._accelerator.process_index)
        self._accelerator.wait_for_everyone()  # all processes have read it
        if self._accelerator.is_main_process:
            say(f"{self._folder}: an unfinished training with other settings or data; starting anew")
            shutil.rmtree(self._folder, ignore_errors=True)
        return None

    def save(self, step: int, saved: "Saved") -> None:
        """Write a complete checkpoint or none, and remove older ones; every process must call this."""
        complete = self._folder / f"step-{step:09d}"
        partial = complete.with_suffix(".partial")
        try:
            self._write(complete, partial, saved)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CompressError(
                f"{self._folder}: a checkpoint of {saved.size_bytes / 1e6:,.0f} MB cannot be written ({error}); "
                "free some space, then run the same command again to go on"
            ) from None
        self._since = Stopwatch()

    def _write(self, complete: Path, partial: Path, saved: "Saved") -> None:
        main = self._accelerator.is_main_process
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        saved.write_random(partial, self._accelerator.process_index)
        self._accelerator.wait_for_everyone()
        if main:
            saved.write(partial)
            (partial / _IDENTITY).write_text(self._identity, encoding="utf-8")
            partial.rename(complete)
            for old in self._folder.iterdir():
                if old != complete:
                    shutil.rmtree(old, ignore_errors=True)


@dataclass(frozen=True)
class Saved:
    """A training's whole state.

    Attributes:
        numbers: everything that JSON can hold.
        tensors: by kind and name.
        random_states: of this process's random generators.
    """

    numbers: dict[str, Any]
    tensors: dict[str, dict[str, torch.Tensor]]
    random_states: dict[str, Any]

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for of in self.tensors.values() for tensor in of.values())

    @classmethod
    def now(cls, numbers: dict[str, Any], tensors: dict[str, dict[str, torch.Tensor]]) -> "Saved":
        """With the present state of all random generators; a user's loss may use NumPy's and Python's."""
        name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is what is shared
        states = {
            "torch": torch.get_rng_state().tolist(),
            "cuda": torch.cuda.get_rng_state().tolist() if torch.cuda.is_initialized() else None,
            "numpy": [name, np.asarray(keys).tolist(), *rest],
            "python": random.getstate(),
        }
        return cls(numbers, tensors, states)

    def restore_random(self) -> None:
        """Put every random generator back where it was."""
        torch.set_rng_state(torch.tensor(self.random_states["torch"], dtype=torch.uint8))
        if self.random_states["cuda"] is not None:
            torch.cuda.set_rng_state(torch.tensor(self.random_states["cuda"], dtype=torch.uint8))
        name, keys, *rest = self.random_states["numpy"]
        np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002 - as above
        version, numbers, gauss = self.random_states["python"]
        random.setstate((version, tuple(numbers), gauss))

    @classmethod
    def read(cls, folder: Path, process: int) -> "Saved":
        """A checkpoint as ``process`` wrote it."""
        tensors: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(folder / _TENSORS).items():
            kind, of = name.split(".", 1)
            tensors.setdefault(kind, {})[of] = tensor
        numbers, states = (
            json.loads(path.read_text(encoding="utf-8")) for path in (folder / _STATE, _random_file(folder, process))
        )
        return cls(numbers, tensors, states)

    def write(self, folder: Path) -> None:
        """Write what the processes share."""
        flat = {
            f"{kind}.{of}": tensor.contiguous() for kind in self.tensors for of, tensor in self.tensors[kind].items()
        }
        save_file(flat, folder / _TENSORS)
        (folder / _STATE).write_text(json.dumps(self.numbers), encoding="utf-8")

    def write_random(self, folder: Path, process: int) -> None:
        """Write what each process has of its own."""
        _random_file(folder, process).write_text(json.dumps(self.random_states), encoding="utf-8")


def _random_file(folder: Path, process: int) -> Path:
    return folder / f"random-{process}.json"


def identity_of(
    modules: Iterable[nn.Module], sets: Iterable[Examples], config: TrainingConfig, run_files: RunFiles, processes: int
) -> str:
    """Digest of everything that decides a training's result: it may go on only from checkpoints with the same one.

    Args:
        modules: the modules to train, with the weights that they start from.
        sets: train and validation texts.
        config: the settings of the training.
        run_files: its ``inputs`` count too.
        processes: how many train together.
    """
    settings = config.model_dump(mode="json", exclude={"track", "checkpoint_seconds"})
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
