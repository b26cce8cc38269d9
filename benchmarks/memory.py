"""Memory of distillation's texts and teacher answers, at 10,000, 100,000 and 1,000,000 texts without labels.

python -m benchmarks.memory [TEXTS ...]

For each number, a process of its own reads a file of so many lines, tokenizes them to disk, has a small random teacher
answer them into a fresh cache (its logits and one layer's hidden states) and reads the answers back in batches. What is
told is anonymous memory (``RssAnon``), sampled every 10 ms: what the process really holds. ``ru_maxrss`` stands beside
it for comparison; it counts pages of mapped files too, which are the kernel's cache and are given back when anybody
needs the room. The baseline is the process with its libraries loaded and one batch answered.

A text costs about 30 bytes (where its answers are, which are missing, in which order they are read); the rest of the
growth is none of the texts'.
"""

import json
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
from compress.distillation.corpus import build_corpus
from compress.distillation.teacher import answers
from compress.distillation.unlabeled import read_unlabeled
from compress.modeling.checkpoint import Checkpoint
from compress.training.batches import Examples
from compress.training.encodings import Encodings

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
    print("| texts | tokens | baseline MB | peak MB | growth MB | ru_maxrss MB | on disk MB |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks.memory", "--one", str(size)]
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print("| " + " | ".join(f"{value:,.0f}" for value in rows[-1].values()) + " |", flush=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


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
            "peak_mb": peak[0] / 1e6,
            "growth_mb": (peak[0] - baseline) / 1e6,
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "disk_mb": sum(path.stat().st_size for path in stored) / 1e6,
        }


def distilled(teacher: Checkpoint, encodings: Encodings, cache: Path) -> None:
    """What a distillation does with its texts and its teacher, less the student."""
    config = DistillConfig.parse({"device": "cpu", "precision": "fp32", "teacher_cache": str(cache), "cache_gb": 100.0})
    found = answers(teacher, encodings, teacher.labels, frozenset({"hidden.1"}), config)
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
