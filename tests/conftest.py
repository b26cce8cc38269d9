"""A tiny real BERT, a tiny real data set, and whole model folders made from them by the steps themselves."""

import gc
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.processes import fork_server, memory_folder

WORDS = {
    "negative": ["bad", "awful", "dull", "boring", "poor", "waste", "mess", "tired"],
    "positive": ["good", "great", "fine", "fun", "superb", "rich", "moving", "sharp"],
}
FILLERS = ["a", "the", "film", "story", "is", "was", "very", "and", "with", "number", "its", "of"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def _pin_worker() -> None:
    """Give each xdist worker a CPU: torch's threads spin, and two workers that shared two CPUs ran 100x slower."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker.startswith("gw") and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[int(worker.removeprefix("gw")) % len(cpus)]})


def _keep_folders_in_memory() -> None:
    """Also those of the processes that tests start."""
    if memory := memory_folder():
        os.environ["TMPDIR"] = tempfile.tempdir = memory


_keep_folders_in_memory()
_pin_worker()  # on import: torch counts its CPUs when a test's conftest or module first imports it


# PyTorch and transformers leave half a million objects, which collections look at in vain: a tenth of a training.
gc.set_threshold(50_000, 20, 20)


if "PYTEST_XDIST_WORKER" in os.environ:  # which will import all of it, and has one CPU
    fork_server()


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Teachers' answers are kept apart from the user's own cache."""
    os.environ["COMPRESS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _few_parity_batches() -> Iterator[None]:
    """An export is compared with PyTorch over a third of the batches, and small ones; tests/graph looks at them all."""
    from compress.graph import checks

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "BATCHES", (1, 3))
        patch.setattr(checks, "LENGTHS", (9,))
        yield


@pytest.fixture(autouse=True)
def _loud() -> None:
    """``--quiet`` holds for a process, which here runs the next tests too."""
    from compress.progress import be_quiet

    be_quiet(False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("COMPRESS_DATA", beside))
    if not path.is_dir():
        pytest.skip("needs ../shared/data or $COMPRESS_DATA")
    return path


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder of 4 layers x 64, random weights, in Hugging Face layout with a WordPiece tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("encoder")
    letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz0123456789" for mark in ("", "##")]
    words = [*SPECIALS, *WORDS["negative"], *WORDS["positive"], *FILLERS]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*words, *letters]))}
    BertTokenizer(vocab=vocabulary, model_max_length=128).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        initializer_range=0.1,  # large enough for heads and neurons to matter, small enough to learn fast
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, validation and test files: 240, 60 and 60 texts, "negative" or "positive" by their words."""
    import random

    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for split, rows in {"train": 240, "validation": 60, "test": 60}.items():
        lines = []
        for number in range(rows):
            label = ("negative", "positive")[number % 2]
            words = rng.choices(WORDS[label], k=rng.randint(1, 3)) + rng.choices(FILLERS, k=rng.randint(2, 12))
            rng.shuffle(words)
            lines.append(json.dumps({"text": " ".join(words), "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def shallow_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder with its first layer alone."""
    from tests.tiny import write_first_layers

    return write_first_layers(tiny_encoder, 1, tmp_path_factory.mktemp("shallow"))


@pytest.fixture(scope="session")
def few_data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first 64, 24 and 24 rows of the data: for what does not depend on how much is learned."""
    folder = tmp_path_factory.mktemp("few")
    for split, rows in {"train": 64, "validation": 24, "test": 24}.items():
        lines = (tiny_data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"{split}.jsonl").write_text("".join(lines[:rows]), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of this name that a step writes: made by the worker that asks first, and read by both."""
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    def made(name: str, step: Callable[..., object], *inputs: Path, **settings: Any) -> Path:
        out = place / "models" / name
        with FileLock(place / f"{name}.lock"):
            if not out.exists():  # a step's folder is whole or not there
                step(*inputs, out, threads=1, **settings)
        return out

    return made


@pytest.fixture(scope="session")
def tiny_torch(tiny_encoder: Path, tiny_data: Path, once: Callable[..., Path]) -> Path:
    """The encoder fine-tuned on the data, as ``compress finetune`` writes it."""
    import compress

    settings = {"epochs": 3, "learning_rate": 1e-3, "precision": "fp32"}
    return once("teacher", compress.finetune, tiny_encoder, tiny_data, **settings)


@pytest.fixture(scope="session")
def shallow_torch(shallow_encoder: Path, tiny_data: Path, once: Callable[..., Path]) -> Path:
    """The encoder's first layer fine-tuned on the data."""
    import compress

    settings = {"epochs": 3, "learning_rate": 1e-3, "precision": "fp32", "batch_size": 8}
    return once("shallow", compress.finetune, shallow_encoder, tiny_data, **settings)


@pytest.fixture(scope="session")
def tiny_onnx(tiny_torch: Path, once: Callable[..., Path]) -> Path:
    """The export of ``tiny_torch``."""
    import compress

    return once("onnx", compress.export, tiny_torch)


@pytest.fixture(scope="session")
def tiny_int8(tiny_onnx: Path, tiny_data: Path, once: Callable[..., Path]) -> Path:
    """``tiny_onnx`` quantized."""
    import compress

    return once("int8", compress.quantize, tiny_onnx, tiny_data)


@pytest.fixture(scope="session")
def tiny_static(tiny_onnx: Path, tiny_data: Path, once: Callable[..., Path]) -> Path:
    """``tiny_onnx`` quantized with the ranges of its activations measured beforehand."""
    import compress

    return once("static", compress.quantize, tiny_onnx, tiny_data, activations="static")


@pytest.fixture(scope="session")
def task_onnx(
    tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory, once: Callable[..., Path]
) -> Callable[[str], Path]:
    """The export of a model with random weights for the task of this name, with the labels ``THREE_LABELS``."""
    import compress
    from compress.modeling.checkpoint import save_checkpoint
    from tests.tiny import THREE_LABELS, make_bert, make_checkpoint

    def made(task: str) -> Path:
        def export(out: Path, threads: int) -> None:
            source = tmp_path_factory.mktemp(task)
            save_checkpoint(
                make_checkpoint(tiny_encoder, make_bert(labels=3, seed=3), THREE_LABELS, task), source / "torch"
            )
            compress.export(source / "torch", out, threads=threads)

        return once(f"onnx-{task}", export)

    return made


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timed models are forked from a process that has imported PyTorch, and timed for moments; charts are left out:
    for tests of what is done with their answers and times.

    Importing it takes seconds a worker. What a worker loads and holds, and how long it takes for that, is looked at in
    ``tests/benchmark``, where it starts as it does for users.
    """
    from compress.benchmark import interleave
    from compress.workers import process
    from tests.processes import ForkedWorker
    from tests.undrawn import leave_charts_out

    leave_charts_out(monkeypatch)
    monkeypatch.setattr(process, "_start", ForkedWorker)
    monkeypatch.setattr(interleave, "_SLOWEST_TURN_S", 0.03)
    monkeypatch.setattr(interleave, "_FASTEST_TURN_S", 0.005)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have no charts, for tests of their words and tables."""
    from tests.undrawn import leave_charts_out

    leave_charts_out(monkeypatch)


@pytest.fixture
def quick_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Latency tables are measured for a moment: those of tiny models need not be exact."""
    from compress.latency import table

    monkeypatch.setattr(table, "_ROUNDS", 2)
    monkeypatch.setattr(table, "_TURN_S", 0.005)
    monkeypatch.setattr(table, "_PROCESSES", 1)


@pytest.fixture
def timed_here(monkeypatch: pytest.MonkeyPatch, quick_table: None) -> None:  # noqa: ARG001
    """Models to plan with are timed in this process, for tests of what is done with their times.

    Each in a process of its own, as ``tests/latency`` looks at it, a table of tiny models takes 15 seconds.
    """
    from compress.latency import deployment
    from tests.tiny import TimerHere

    monkeypatch.setattr(deployment, "GraphTimer", TimerHere)
