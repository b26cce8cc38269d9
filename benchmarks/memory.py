"""Memory of distillation's texts and teacher answers, at 10,000, 100,000 and 1,000,000 texts without labels.

python -m benchmarks.memory [TEXTS ...]

For each number, a process of its own reads a file of so many lines, tokenizes them to disk, has a small random teacher
answer them into a fresh cache (its logits and one layer's hidden states) and reads the answers back in batches. What is
told is the peak of anonymous memory (``RssAnon``, sampled every 10 ms) above the baseline, the same process with its
libraries loaded and 1,000 texts answered. ``ru_maxrss`` stands beside it: it counts the pages of mapped files too,
which are the kernel's cache and are given back as soon as anybody needs the room.

Each size is run twice. In the first run glibc gives back what is freed (``MALLOC_MMAP_THRESHOLD_``), so that the growth
is what is held: some 45 bytes a text (where its answers are, which ones are missing, the order of reading), and
buffers of constant size. In the second, glibc does as it likes: it keeps freed buffers of PyTorch's for the next time.
"""

import json
import os
import random
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from compress.config import DistillConfig
from compress.distillation.distill import teacher_outputs
from compress.distillation.teacher_cache.cache import teacher_digest
from compress.distillation.texts import build_corpus, read_unlabeled
from compress.modeling.checkpoint import Checkpoint
from compress.training.batches import Encodings, Examples

RESULTS = Path(__file__).parent / "results" / "memory.jsonl"
SIZES = (10_000, 100_000, 1_000_000)
WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrst"]
LABELLED = 1_000
BATCH_SIZE = 64


def main() -> None:
    """Measure each size in a process of its own; a table on stdout, the figures in ``results/memory.jsonl``."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]))))
        return
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    rows = []
    print("| texts | tokens | on disk MB | baseline MB | growth MB | growth as glibc likes MB | ru_maxrss MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for size in sizes:
        held, default = in_a_process(size, {"MALLOC_MMAP_THRESHOLD_": "262144"}), in_a_process(size, {})
        rows.append({**held, "default_malloc_growth_mb": default["growth_mb"]})
        columns = ("texts", "tokens", "disk_mb", "baseline_mb", "growth_mb", "default_malloc_growth_mb", "max_rss_mb")
        print("| " + " | ".join(f"{rows[-1][name]:,.0f}" for name in columns) + " |", flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def in_a_process(size: int, environment: dict[str, str]) -> dict[str, float]:
    """:func:`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", "--one", str(size)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | environment).stdout
    result: dict[str, float] = json.loads(told)
    return result


def measure(count: int) -> dict[str, float]:
    """The memory of one size, in this process."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = folder / "lines.txt"
        write_lines(lines, count)
        teacher = small_teacher()
        labelled = Encodings.pack(teacher.encoder(list(texts(LABELLED, seed=1))))
        distilled(teacher, labelled, folder / "first")  # libraries warm up
        baseline = anonymous_bytes()
        with watched() as peak:
            more = read_unlabeled(str(lines), (), pairs=False)
            encodings = build_corpus(labelled, more, teacher.encoder, folder / "corpus")
            distilled(teacher, encodings, folder / "cache")
        stored = [path for name in ("corpus", "cache") for path in (folder / name).rglob("*") if path.is_file()]
        return {
            "texts": len(encodings),
            "tokens": len(encodings.ids),
            "baseline_mb": baseline / 1e6,
            "growth_mb": (peak[0] - baseline) / 1e6,
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "disk_mb": sum(path.stat().st_size for path in stored) / 1e6,
        }


def distilled(teacher: Checkpoint, encodings: Encodings, cache: Path) -> None:
    """What a distillation does with its texts and its teacher, less the student."""
    config = DistillConfig.parse({"device": "cpu", "precision": "fp32", "teacher_cache": str(cache), "cache_gb": 100.0})
    digest, states = teacher_digest(teacher), frozenset({"hidden.1"})
    found = teacher_outputs(teacher, digest, encodings, teacher.labels, states, config)
    examples = Examples(encodings, np.zeros(LABELLED, dtype=np.int64), found)
    rng = np.random.default_rng(0)
    for _ in range(len(encodings) // BATCH_SIZE):
        examples.batch(rng.integers(0, len(encodings), BATCH_SIZE).tolist())


def small_teacher() -> Checkpoint:
    """A random BERT of 2 layers x 64."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, model_max_length=128)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    return Checkpoint(BertForSequenceClassification(config).eval(), tokenizer, "single_label", ("no", "yes"), 128)


def texts(count: int, seed: int) -> Iterator[str]:
    """Random words, 4 to 24 of them."""
    rng = random.Random(seed)
    return (" ".join(rng.choices(WORDS, k=rng.randint(4, 24))) for _ in range(count))


def write_lines(path: Path, count: int) -> None:
    """A file of ``count`` texts."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{text}\n" for text in texts(count, seed=0))


def anonymous_bytes() -> int:
    """Memory of this process that is not a file's."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


@contextmanager
def watched() -> Iterator[list[int]]:
    """The peak of :func:`anonymous_bytes`, sampled until the end of the block."""
    peak, over = [anonymous_bytes()], threading.Event()

    def sample() -> None:
        while not over.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
