"""A cascade in the benchmark: it is given texts, not tokens, since each of its models has its own tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from compress.replacement import open_whole
from compress.runtime.cascade import Cascade, open_cascade
from compress.runtime.encoding import Feeds, Text


class CascadePredictor:
    """A cascade's facts for the report; its ``classifier`` answers.

    ``encoder`` and ``batch_tokens`` are those of the small model, which reads every text.
    """

    backend = "onnxruntime"

    def __init__(self, folder: Path, threads: int, provider: str) -> None:
        self.classifier: Cascade = open_whole(
            folder, lambda manifest: open_cascade(folder, manifest, threads, instances=1, provider=provider)
        )
        small, large = self.classifier.predictors
        self.task, self.labels = self.classifier.task, self.classifier.labels
        self.precision, self.provider = self.classifier.precision, small.provider
        self.encoder, self.batch_tokens = small.encoder, small.batch_tokens
        self.size_bytes = small.size_bytes + large.size_bytes
        self.parameters = small.parameters + large.parameters
        self.hand_on_below = self.classifier.hand_on_below

    def run(self, feeds: Feeds) -> NoReturn:
        """Not possible: the large model cannot read the small one's tokens."""
        raise NotImplementedError

    def handed_on(self, texts: Sequence[Text]) -> list[int]:
        """The rows of the texts that the large model answers."""
        rows: list[int] = self.classifier.handed_on(self.classifier.small.logits(texts)).tolist()
        return rows
