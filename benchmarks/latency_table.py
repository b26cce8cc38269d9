"""How near the latencies that the table predicts come to those of whole models, from one narrow layer to all of BERT.

    python -m benchmarks.latency_table MODEL --data D [--runtime int8] [--threads 1] [--out FILE]

Twelve models, small to large, of 1 layer to all of MODEL's and of uneven widths, none of which the table was fitted to.
Each takes turns with MODEL's own shape. Writes ``benchmarks/results/latency_table.json`` and prints a table.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept import RESULTS, about, markdown, write
from compress.clock import Stopwatch
from compress.config import DataConfig, PruneConfig
from compress.data.read import read_dataset
from compress.latency.deployment import deployment_of, parameters
from compress.latency.table import latency_table, time_against
from compress.modeling.checkpoint import load_classifier
from compress.modeling.widths import Architecture, Widths

MODELS = 12


def uneven_models(whole: Widths, seed: int = 0) -> list[Widths]:
    """Models of rising depth and width, their layers' widths random around that."""
    rng, layers = np.random.default_rng(seed), len(whole.heads)
    models = []
    for share in np.linspace(0.1, 0.9, MODELS):
        depth = int(np.clip(round(layers * (share + rng.uniform(0.0, 0.3))), 1, layers))
        wanted = np.clip(rng.normal(share, 0.2, (2, depth)), 0.05, 1)
        heads = np.maximum(1, np.rint(wanted[0] * max(whole.heads))).astype(int)
        neurons = 32 * np.rint(wanted[1] * max(whole.neurons) / 32).astype(int)
        models.append(Widths(tuple(heads.tolist()), tuple(neurons.tolist())))
    return models


def measure(model: Path, data: str, config: PruneConfig, threads: int) -> dict[str, Any]:
    """The table's own time to make, and each model's predicted and measured latency."""
    dataset = read_dataset(DataConfig(data=data))
    checkpoint = load_classifier(str(model), pairs=dataset.pairs)
    architecture, whole = Architecture.of(checkpoint.model), Widths.of(checkpoint.model)
    deployment = deployment_of(checkpoint, dataset, config, threads)
    watch = Stopwatch()
    table = latency_table(architecture, whole, deployment)
    seconds, rows = watch.seconds, []
    whole_ms = table.latency_ms(whole)
    with deployment.timer(architecture, whole) as reference:
        for widths in uneven_models(whole):
            with deployment.timer(architecture, widths) as timed:
                measured_ms = time_against(timed, reference).ratio * whole_ms
            predicted_ms = table.latency_ms(widths)
            rows.append(
                asdict(widths)
                | {"parameters": parameters(architecture, widths), "predicted_ms": predicted_ms}
                | {"measured_ms": measured_ms, "error": predicted_ms / measured_ms - 1}
            )
    return about([threads]) | {
        "model": asdict(whole),
        "lengths": sorted(deployment.lengths),
        "runtime": deployment.runtime,
        "table_seconds": seconds,
        "whole_ms": whole_ms,
        "models": rows,
    }


def as_table(results: dict[str, Any]) -> str:
    """A row a model."""
    lines = [["layers", "heads", "neurons", "predicted ms", "measured ms", "error"]]
    for row in results["models"]:
        widths = (" ".join(map(str, row[name])) for name in ("heads", "neurons"))
        times = (f"{row['predicted_ms']:.3f}", f"{row['measured_ms']:.3f}", f"{100 * row['error']:+.1f}%")
        lines.append([str(len(row["heads"])), *widths, *times])
    errors = np.abs([row["error"] for row in results["models"]])
    return f"{markdown(lines)}\nmean error {100 * errors.mean():.1f}%, largest {100 * errors.max():.1f}%"


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--runtime", default="int8", choices=("int8", "fp32", "cuda"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "latency_table.json")
    given = parser.parse_args()
    config = PruneConfig.parse({"speedup": 2.0, "runtime": given.runtime})
    results = measure(given.model, given.data, config, given.threads)
    write(given.out, results)
    print(as_table(results))


if __name__ == "__main__":
    main()
