"""Which steps of FFN width the kernels like: python -m benchmarks.steps MODEL --data D [--runtime int8] [--threads 1]

Models of MODEL's layers, whose FFNs hold every eighth width from 384 to 640 neurons, each in turns with the one of 512,
on texts of the test split's lengths. A straight line through the widths that are multiples of 64 says what a width
should cost; the table says by how much the multiples of 8, 16 and 32 that are no more than that are off it. Writes
``benchmarks/results/steps.json``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.latency_table import arguments
from compress.config import DataConfig, PruneConfig
from compress.data.read import read_dataset
from compress.latency.deployment import deployment_of
from compress.latency.table import time_against
from compress.machine import describe_machine
from compress.modeling.checkpoint import load_classifier
from compress.modeling.widths import Architecture, Widths
from compress.progress import progress

RESULTS = Path(__file__).parent / "results" / "steps.json"
NEURONS = range(384, 641, 8)
MIDDLE = 512
STEPS = (64, 32, 16, 8)


def measure(model: Path, data: str, config: PruneConfig, threads: int) -> dict[str, Any]:
    """Each width's time as a share of the middle one's."""
    dataset = read_dataset(DataConfig(data=data))
    checkpoint = load_classifier(str(model), pairs=dataset.pairs)
    architecture, whole = Architecture.of(checkpoint.model), Widths.of(checkpoint.model)
    deployment = deployment_of(checkpoint, dataset, config, threads)
    shape, ratios = (len(whole.heads), max(whole.heads)), {}
    with (
        progress("widths", len(NEURONS)) as advance,
        deployment.timer(architecture, Widths.even(*shape, MIDDLE)) as reference,
    ):
        for neurons in NEURONS:
            with deployment.timer(architecture, Widths.even(*shape, neurons)) as timed:
                ratios[neurons] = time_against(timed, reference).ratio
            advance()
    told = {"layers": shape[0], "heads": shape[1], "hidden_size": architecture.hidden_size}
    return {"machine": describe_machine([threads]), "runtime": deployment.runtime, **told, "ratios": ratios}


def by_step(ratios: dict[int, float]) -> dict[int, list[float]]:
    """For each step, what the widths that it is the largest divisor of cost over the line, as shares of it."""
    largest = {neurons: next(step for step in STEPS if neurons % step == 0) for neurons in ratios}
    whole = [neurons for neurons, step in largest.items() if step == STEPS[0]]
    slope, start = np.polyfit(whole, [ratios[neurons] for neurons in whole], 1)
    return {
        step: [
            ratios[neurons] / (start + slope * neurons) - 1 for neurons, found in largest.items() if found == step
        ]
        for step in STEPS
    }  # fmt: skip


def as_table(found: dict[int, list[float]]) -> str:
    """A row a step."""
    lines = ["| largest step that divides the width | widths | mean over the line | worst |", "|--:|--:|--:|--:|"]
    for step, excess in found.items():
        lines.append(f"| {step} | {len(excess)} | {100 * np.mean(excess):+.1f}% | {100 * max(excess):+.1f}% |")
    return "\n".join(lines)


def main() -> None:
    """Measure, write and print."""
    given = arguments(__doc__, RESULTS)
    results = measure(given.model, given.data, given.config, given.threads)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(as_table(by_step(results["ratios"])))


if __name__ == "__main__":
    main()
