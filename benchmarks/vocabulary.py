"""What a smaller vocabulary saves and costs without any training: python -m benchmarks.vocabulary SET MODEL...

    python -m benchmarks.vocabulary sst2 runs/distillation/sst2/teacher [--data ../shared/data]

Cuts each MODEL, a folder of a classifier for the data set SET, as ``compress prune --vocabulary`` does, and compares it
with itself before the cut. The number of common tokens that stay was chosen on validation texts. Prints two rows of a
table a model, one a split: rows of the embedding table, share of tokens and of texts that are read otherwise, accuracy
before and after with the change in points and its 95% interval (paired bootstrap), and the share of equal answers.
"""

import argparse
from pathlib import Path

from compress.config import DataConfig
from compress.data import Dataset, Split, read_dataset
from compress.evaluation.comparison import measure_change
from compress.evaluation.metrics import predictions, score, truth
from compress.modeling.checkpoint import Checkpoint, load_classifier
from compress.modeling.torch_predictor import TorchPredictor
from compress.pruning.vocabulary import compare_reading, cut_vocabulary
from compress.runtime.predictor import predict_logits

COLUMNS = ("model", "split", "tokens", "fewer", "tokens changed", "texts changed", "accuracy", "points", "same answer")


def main() -> None:
    """The table on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", help="a folder of --data")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    given = parser.parse_args()
    dataset = read_dataset(DataConfig(data=str(given.data / given.set)))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for folder in given.models:
        for row in rows(f"{given.set} {folder.name}", folder, dataset):
            print(f"| {' | '.join(row)} |", flush=True)


def rows(name: str, folder: Path, dataset: Dataset) -> list[tuple[str, ...]]:
    """One a split."""
    whole = load_classifier(str(folder), pairs=dataset.pairs)
    smaller = cut_vocabulary(whole, dataset.train.texts)
    before, after = (len(model.tokenizer.get_vocab()) for model in (whole, smaller))
    size = (f"{before:,} to {after:,}", f"{1 - after / before:.1%}")
    splits = {"validation": dataset.validation, "test": dataset.test}
    return [(name, split, *size, *compared(whole, smaller, texts)) for split, texts in splits.items()]


def compared(whole: Checkpoint, smaller: Checkpoint, split: Split) -> tuple[str, ...]:
    """The columns that depend on the texts."""
    reading = compare_reading(whole, smaller, split.texts)
    targets = split.targets(whole.labels, whole.task)
    logits = [predict_logits(TorchPredictor(model), split.texts) for model in (whole, smaller)]
    accuracies = [score("accuracy", found, targets) for found in logits]
    answered, answers = (predictions(whole.task, found) for found in logits)
    change = measure_change("accuracy", answered, answers, truth(targets, len(whole.labels)), seed=0)
    low, high = (100 * bound for bound in change.ci95)
    return (
        f"{reading['tokens_changed']:.2%}",
        f"{reading['texts_changed']:.1%}",
        " to ".join(f"{accuracy:.2%}" for accuracy in accuracies),
        f"{100 * change.accuracy_delta:+.2f} ({low:+.2f} to {high:+.2f})",
        f"{change.agreement:.2%}",
    )


if __name__ == "__main__":
    main()
