"""A model to time: an ONNX graph in a process of its own, or a PyTorch model on a GPU in this one.

The graph's process, ``python -m compress.latency.timer``, imports no more than what serves a model, so that it starts
quickly.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from compress.clock import CudaStopwatch
from compress.errors import CompressError
from compress.runtime.encoding import Feeds
from compress.workers.process import Worker, WorkerError, serve
from compress.workers.timing import TimedCalls

if TYPE_CHECKING:
    from torch import nn


class Timer(Protocol):
    """A model that is ready to be timed."""

    def turn(self, calls: int, first: int) -> float:
        """The median time in milliseconds of ``calls`` calls with the inputs in order, from number ``first`` on."""
        ...


class GraphTimer(Worker):
    """A process that runs a serialized ``graph`` on the inputs ``feeds``, in order, over and over."""

    def __init__(self, graph: bytes, feeds: Sequence[Feeds], threads: int) -> None:
        super().__init__("compress.latency.timer", threads)
        self._folder = TemporaryDirectory()
        (Path(self._folder.name) / "model.onnx").write_bytes(graph)
        arrays = {f"{row}.{name}": array for row, inputs in enumerate(feeds) for name, array in inputs.items()}
        np.savez(Path(self._folder.name) / "feeds.npz", **arrays)  # type: ignore[arg-type]  # its stub takes them for an option
        self._opening: dict[str, Any] = {"folder": self._folder.name, "threads": threads}

    def turn(self, calls: int, first: int) -> float:
        """As :meth:`Timer.turn` says; the first turn opens the graph."""
        try:
            if self._opening:
                self.ask(**self._opening)
                self._opening = {}
            return float(np.median(self.ask(do="turn", calls=calls, first=first)["times_ms"]))
        except WorkerError as failure:
            raise CompressError(
                f"prune: the process that times a model failed: {failure}; if memory is short, end other programs and "
                "run the same command again"
            ) from None

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


class CudaTimer:
    """A PyTorch model on CUDA, timed by the GPU's own events, one call after the other, and moved back in the end."""

    def __init__(self, model: "nn.Module", feeds: Sequence[Feeds]) -> None:
        import torch

        self._model = model.to("cuda").eval()
        tensors = [{name: torch.from_numpy(array).cuda() for name, array in inputs.items()} for inputs in feeds]
        self._calls = TimedCalls(lambda inputs: model(**inputs), tensors, CudaStopwatch)

    def turn(self, calls: int, first: int) -> float:
        import torch

        with torch.inference_mode():
            return float(np.median(self._calls.turn(calls, first=first)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        self._model.to("cpu")
        torch.cuda.empty_cache()


class GraphServer:
    """Runs the graph and the inputs that a :class:`GraphTimer` left in ``folder``, in the process that times them."""

    def __init__(self, folder: str, threads: int) -> None:
        from compress.runtime.session import open_session

        session = open_session(Path(folder, "model.onnx"), threads)
        self._calls = TimedCalls(lambda inputs: session.run(["logits"], inputs), _read_feeds(Path(folder, "feeds.npz")))
        self._calls.warm_up()

    def describe(self) -> dict[str, Any]:
        return {}

    def turn(self, calls: int, first: int) -> dict[str, Any]:
        return {"times_ms": self._calls.turn(calls, first=first)}


def _read_feeds(path: Path) -> list[Feeds]:
    rows: dict[int, Feeds] = {}
    with np.load(path) as arrays:
        for key in arrays:
            row, _, name = key.partition(".")
            rows.setdefault(int(row), {})[name] = arrays[key]
    return [rows[row] for row in sorted(rows)]


if __name__ == "__main__":
    serve(GraphServer)
