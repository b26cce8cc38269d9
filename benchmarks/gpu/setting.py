"""What is measured and how large: the whole set for a GPU, and a miniature of it that a CPU can do."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig

from compress.families.bert import BERT
from compress.modeling.pruned import pruned_config

TEACHER, STUDENT, PRUNED, LARGE = "minilm-l6", "student-3", "pruned-3", "bert-base"


@dataclass(frozen=True)
class Shape:
    """A BERT classifier's size; heads and neurons are those of each layer."""

    hidden: int
    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    head_size: int
    vocabulary: int
    positions: int

    def config(self) -> BertConfig:
        """Of a stock BERT where all layers are whole, else of a pruned one."""
        whole = self.hidden // self.head_size
        shape = {
            "vocab_size": self.vocabulary,
            "max_position_embeddings": self.positions,
            "hidden_size": self.hidden,
            "num_hidden_layers": len(self.heads),
            "num_attention_heads": whole,
            "intermediate_size": 4 * self.hidden,
        }
        if set(self.heads) == {whole} and set(self.neurons) == {4 * self.hidden}:
            return BertConfig(**shape)  # type: ignore[arg-type]  # all are numbers
        widths = {"heads_per_layer": list(self.heads), "neurons_per_layer": list(self.neurons)}
        pruned: BertConfig = pruned_config(BERT)(**shape, **widths, attention_head_size=self.head_size)
        return pruned


@dataclass(frozen=True)
class Setting:
    """How large everything is, and where it runs.

    Attributes:
        device: ``cuda`` or ``cpu``.
        folder: where models and data are made.
        shapes: of each model.
        batches: texts in a call, at each of ``lengths`` tokens.
        lengths: tokens of every text.
        sst2_batches: texts in a call whose lengths are those of SST-2's test sentences.
        figure_s: seconds of timing for a figure.
        bench_s: the same in ``compress bench``.
        matrix: rows of the square products that the card's rates are measured with.
        texts: train texts; validation and test have a tenth each.
        prune_rows: train texts that ``prune`` measures importance on.
    """

    device: str
    folder: Path
    shapes: dict[str, Shape]
    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    sst2_batches: tuple[int, ...]
    figure_s: float
    bench_s: float
    matrix: int
    texts: int
    prune_rows: int

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to measure."""
        return self.device == "cuda"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the device has kernels for, fp32 first."""
        return ("fp32", "fp16", "bf16", "tf32") if self.on_gpu else ("fp32", "bf16")

    @property
    def half(self) -> tuple[str, ...]:
        """The precisions of 16 bits among them."""
        return tuple(precision for precision in self.precisions if precision in ("fp16", "bf16"))


def full(folder: Path) -> Setting:
    """For a GPU."""
    mini, base = (12, 1536), (12, 3072)
    common = {"vocabulary": 30_522, "positions": 512}
    shapes = {
        TEACHER: Shape(384, (mini[0],) * 6, (mini[1],) * 6, 32, **common),
        STUDENT: Shape(384, (mini[0],) * 3, (mini[1],) * 3, 32, **common),
        PRUNED: Shape(384, (8, 5, 3), (1024, 640, 384), 32, **common),
        LARGE: Shape(768, (base[0],) * 12, (base[1],) * 12, 64, **common),
    }
    return Setting(
        device="cuda",
        folder=folder,
        shapes=shapes,
        batches=(1, 64, 1024),
        lengths=(32, 128),
        sst2_batches=(1, 256, 1024),
        figure_s=0.1,
        bench_s=1.5,
        matrix=8192,
        texts=8_000,
        prune_rows=512,
    )


def miniature(folder: Path) -> Setting:
    """For a CPU: every branch that needs no GPU, on models that are done in milliseconds."""
    common = {"vocabulary": 1_100, "positions": 128}
    shapes = {
        TEACHER: Shape(32, (2,) * 2, (128,) * 2, 16, **common),
        STUDENT: Shape(32, (2,), (128,), 16, **common),
        PRUNED: Shape(32, (1, 0), (96, 32), 16, **common),
        LARGE: Shape(64, (4,) * 2, (256,) * 2, 16, **common),
    }
    return Setting(
        device="cpu",
        folder=folder,
        shapes=shapes,
        batches=(1, 3),
        lengths=(8,),
        sst2_batches=(1, 3),
        figure_s=0.001,
        bench_s=0.02,
        matrix=64,
        texts=60,
        prune_rows=32,
    )


def setting_for(folder: Path) -> Setting:
    """The whole set where PyTorch sees a GPU, else the miniature."""
    # Asked of the driver: the process that starts the parts must not hold a CUDA context itself.
    return full(folder) if torch.cuda.device_count() else miniature(folder)


def sst2_lengths(count: int, longest: int) -> list[int]:
    """Tokens of ``count`` texts as long as SST-2's 872 test sentences, in seeded random order.

    The file beside this one counts them by length in BERT's own vocabulary, ``[CLS]`` and ``[SEP]`` included.
    """
    counted = json.loads(Path(__file__).with_name("sst2_lengths.json").read_text(encoding="utf-8"))
    lengths = np.repeat([int(length) for length in counted], list(counted.values()))
    order = np.random.default_rng(0).permutation(np.resize(lengths, max(count, len(lengths))))
    return [min(int(length), longest) for length in order[:count]]
