"""No BERT at all: TF-IDF of words and pairs of words, and logistic regression (scikit-learn)."""

import pickle
from pathlib import Path

from benchmarks.peers.contenders import shared

_STRENGTHS = (1.0, 10.0, 100.0)


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """The regularization is the one that is best on validation texts."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    (texts, labels), (held_out, their_labels) = shared.examples(data, "train"), shared.examples(data, "validation")
    counts = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32)
    weights, held_out_weights = counts.fit_transform(texts), counts.transform(held_out)
    tried = [LogisticRegression(C=strength, max_iter=300).fit(weights, labels) for strength in _STRENGTHS]
    best = max(tried, key=lambda model: float(model.score(held_out_weights, their_labels)))
    (out / "model.pickle").write_bytes(pickle.dumps(make_pipeline(counts, best)))


def load(folder: Path, threads: int) -> shared.Answer:  # noqa: ARG001
    """The pickled pipeline."""
    model = pickle.loads((folder / "model.pickle").read_bytes())
    return lambda text: str(model.predict([text])[0])
