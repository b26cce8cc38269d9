"""The table of auto_beside.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.auto import with_interval
from benchmarks.auto_beside_aim import WAYS
from benchmarks.kept import markdown


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The lines as Markdown, and the mean of each way over the searches and seeds for which all were made."""
    heads = ["search", "seed", "way", "how", "epochs", "loss on test (95%)", "ms", "over PyTorch", "over int8", "MB"]
    cells = []
    for row in rows:
        about = [row["search"], row["seed"], row["way"]]
        if "failed" in row:
            about.append(f"failed: {row['failed']}")
        else:
            loss = with_interval(row["test_loss"], row["test_loss_ci95"])
            about += [row["how"], row["epochs"] or "", loss, f"{row['answer_ms']:.3g}", f"{row['speedup']:.1f}x"]
            about += [f"{row['speedup_over_int8']:.1f}x", f"{row['megabytes']:.1f}", f"{row['minutes']:.1f}"]
        cells.append(about)
    broken = [(row["search"], row["seed"]) for row in rows if "failed" in row]
    means = []
    for way in ("auto", *WAYS):
        if own := [row for row in rows if row["way"] == way and (row["search"], row["seed"]) not in broken]:
            loss, fast = (np.mean([row[key] for row in own]) for key in ("test_loss", "speedup_over_int8"))
            means.append(f"{way} {loss:.2f} points lost at {fast:.1f}x int8")
    return f"{markdown([[*heads, 'minutes'], *cells], words=len(heads) + 1)}\nMean: {'; '.join(means) or 'of none'}."
