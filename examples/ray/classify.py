"""Classifies a column of texts with Ray Data: python classify.py MODEL IN OUT [--text COLUMN] [--workers N].

IN and OUT are folders of Parquet files. The columns label, score and abstained are added: whether the score is too
low to answer. Each worker is a process that has the model loaded and one CPU; MODEL is a folder on a disk that all of
them see.
"""

import argparse
from typing import Any

import ray
import ray.data


class Classify:
    """A worker."""

    def __init__(self, model: str, text: str) -> None:
        import compress

        self._classifier = compress.load(model, threads=1)
        self._text = text

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the columns label, score and abstained."""
        answers = self._classifier(batch[self._text].tolist())
        return {**batch, **{name: [getattr(one, name) for one in answers] for name in ("label", "score", "abstained")}}


def main() -> None:
    """The columns of IN and three more in OUT."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("source", metavar="IN")
    parser.add_argument("out", metavar="OUT")
    parser.add_argument("--text", default="text", metavar="COLUMN")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    rows = ray.data.read_parquet(asked.source)
    answered = rows.map_batches(
        Classify,
        fn_constructor_args=(asked.model, asked.text),
        batch_size=1024,
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=asked.workers),
    )
    answered.write_parquet(asked.out)


if __name__ == "__main__":
    main()
