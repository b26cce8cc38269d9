"""Ask a model for long, by itself and as a service: is every answer right, and does memory stay?

python -m tests.soak MODEL --predictions 1000000 --threads 4 --minutes 10 --keep benchmarks/results/soak.json

Prints what it found; the exit status is 1 if an answer was wrong or missing.
"""

import argparse
from pathlib import Path

from benchmarks.kept import Record, add_keep, program
from compress.folder import read_manifest
from tests.soak.predictions import soak_predictions
from tests.soak.service import soak_service


def main() -> int:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="ask a model for long")
    parser.add_argument("model", type=Path, help="a folder that export or quantize wrote")
    parser.add_argument("--predictions", type=int, default=10_000, help="of a loaded model (default: 10000)")
    parser.add_argument("--threads", type=int, default=4, help="that share it (default: 4)")
    parser.add_argument("--minutes", type=float, default=0.5, help="of the service (default: 0.5)")
    add_keep(parser)
    given = parser.parse_args()
    record = Record(given.threads)
    digest = read_manifest(given.model).digest
    loaded = soak_predictions(given.model, given.predictions, given.threads)
    service = soak_service(given.model, given.minutes)
    record.tell({"model": digest, "loaded": loaded, "service": service}, given.keep)
    return int(loaded["wrong"] + service["wrong"] + service["failed"] > 0)


if __name__ == "__main__":
    program(main)
