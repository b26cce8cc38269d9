"""Linear models on token ids: baselines that a compressed BERT must beat to be worth its cost.

They read the tokens of the first benched model's tokenizer, and are measured as every other predictor is.
"""

import json
import shutil
from collections.abc import Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.data import Dataset
from compress.errors import CompressError
from compress.families import FAMILIES
from compress.folder import MANIFEST, read_manifest
from compress.runtime.encoding import Encoding, Feeds, TextEncoder
from compress.runtime.graph_file import GRAPHS
from compress.runtime.long_texts import LongTexts
from compress.runtime.predictor import BATCH_TOKENS, Logits

ABOUT, WEIGHTS = "baseline.json", "baseline.npz"

_BIGRAM = 1 << 32
_SMOOTHING = 1e-3
_SURE = 10.0

Floats = npt.NDArray[np.float64]


class BaselinePredictor:
    """TF-IDF over tokens and pairs of tokens, or a weighted mean of token embeddings, under logistic regression."""

    backend = "numpy"
    provider: str | None = None
    precision = "fp32"
    batch_tokens = BATCH_TOKENS

    def __init__(self, folder: Path) -> None:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        self.task: str = about["task"]
        self.labels: tuple[str, ...] = tuple(about["labels"])
        long_texts = LongTexts(**about["long_texts"] or {})
        self.encoder = TextEncoder.from_file(folder / "tokenizer.json", about["max_length"], long_texts)
        self.size_bytes = (folder / WEIGHTS).stat().st_size
        with np.load(folder / WEIGHTS) as arrays:
            self._coefficients, self._intercepts = arrays["coefficients"], arrays["intercepts"]
            self._features = arrays["features"]
            self._terms = {term: column for column, term in enumerate(arrays["terms"].tolist())}
        self.parameters = sum(each.size for each in (self._coefficients, self._intercepts, self._features))

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        lengths = feeds["attention_mask"].sum(axis=1)
        rows = [ids[:length].tolist() for ids, length in zip(feeds["input_ids"], lengths, strict=True)]
        logits = [self._tf_idf(ids) if self._terms else self._static(ids) for ids in rows]
        return np.asarray(np.stack(logits) + self._intercepts, dtype=np.float32)

    def _tf_idf(self, ids: list[int]) -> Floats:
        known = [self._terms[term] for term in terms_of(ids) if term in self._terms]
        columns, counts = np.unique(np.asarray(known, dtype=np.int64), return_counts=True)
        values = counts * self._features[columns]
        return np.asarray(self._coefficients[:, columns] @ (values / max(np.linalg.norm(values), 1e-12)))

    def _static(self, ids: list[int]) -> Floats:
        return np.asarray(self._coefficients @ pooled(self._features, ids))


def fit_baselines(dataset: Dataset, model: Path, out: Path) -> list[Path]:
    """Train both baselines on the train split with ``model``'s tokens and word embeddings; their folders in ``out``.

    They read as much of a long text as ``model`` does, and learn from each of its windows as from a text.
    """
    tokenizer = model / "tokenizer.json"
    if not tokenizer.is_file():
        raise CompressError(f"--baselines: {model} has no tokenizer.json to take the tokens from; give a local folder")
    manifest = read_manifest(model) if (model / MANIFEST).is_file() else None
    max_length, long_texts = (manifest.max_length, LongTexts.of(manifest)) if manifest else (128, LongTexts())
    texts = TextEncoder.from_file(tokenizer, max_length, long_texts.to_train())(dataset.train.texts)
    windows = [encoding.rows for encoding in texts]
    targets = dataset.train.targets(dataset.labels, dataset.task).repeat(list(map(len, windows)), axis=0)
    rows = list(chain.from_iterable(windows))
    about = {"task": dataset.task, "labels": dataset.labels, "max_length": max_length, "long_texts": long_texts.entry}
    arrays = {"tf-idf": _fit_tf_idf(rows, targets), "static": _fit_static(rows, targets, word_embeddings(model))}
    for name, weights in arrays.items():
        folder = out / name
        folder.mkdir()
        (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")
        shutil.copyfile(tokenizer, folder / "tokenizer.json")
        np.savez(folder / WEIGHTS, allow_pickle=False, **weights)
    return [out / name for name in arrays]


def terms_of(ids: Sequence[int]) -> list[int]:
    """A text's tokens and its pairs of neighbouring tokens, each pair as one number."""
    return [*ids, *(first * _BIGRAM + second + _BIGRAM for first, second in pairwise(ids))]


def pooled(table: npt.NDArray[Any], ids: Sequence[int]) -> Floats:
    """The mean of the rows of ``table`` for a text's tokens, scaled to length 1, ``[hidden]``."""
    mean = table[np.asarray(ids, dtype=np.int64)].mean(axis=0, dtype=np.float64)
    return np.asarray(mean / max(np.linalg.norm(mean), 1e-12))


def word_embeddings(model: Path) -> npt.NDArray[np.float32]:
    """The word embedding table of a PyTorch or fp32 ONNX folder, float32 ``[vocabulary, hidden]``."""
    if (weights := model / "model.safetensors").is_file():
        from safetensors import safe_open

        with safe_open(weights, framework="numpy") as tensors:
            ends = tuple({family.embeddings.words.rpartition(".")[2] + ".weight" for family in FAMILIES.values()})
            name = next((key for key in tensors.keys() if key.endswith(ends)), None)  # noqa: SIM118
            if name is not None:
                return np.asarray(tensors.get_tensor(name), dtype=np.float32)
    import onnx
    from onnx import numpy_helper

    for graph in (model / name for name in GRAPHS):
        tensors_of = onnx.load(graph).graph.initializer if graph.is_file() else []
        for tensor in tensors_of:
            if tensor.name == "words":
                return np.asarray(numpy_helper.to_array(tensor), dtype=np.float32)
    raise CompressError(
        f"--baselines: found no fp32 word embeddings in {model}; name a PyTorch or fp32 ONNX folder as the first model"
    )


def _fit_tf_idf(encodings: Sequence[Encoding], targets: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer=lambda encoding: terms_of(encoding.ids), norm="l2")
    features = vectors.fit_transform(encodings)
    terms = vectors.get_feature_names_out().astype(np.int64)
    return _regress(features, targets) | {"features": vectors.idf_.astype(np.float32), "terms": terms}


def _fit_static(
    encodings: Sequence[Encoding], targets: npt.NDArray[Any], table: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[Any]]:
    """Word embeddings weighted by a / (a + frequency) (Arora, Liang and Ma 2017), as in model2vec."""
    counts = np.bincount(np.concatenate([encoding.ids for encoding in encodings]), minlength=len(table))
    weights = _SMOOTHING / (_SMOOTHING + counts / counts.sum())
    weighted = (table * weights[:, None]).astype(np.float32)
    features = np.stack([pooled(weighted, encoding.ids) for encoding in encodings])
    return _regress(features, targets) | {"features": weighted, "terms": np.empty(0, dtype=np.int64)}


def _regress(features: Any, targets: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Logistic regression's coefficients ``[labels, features]`` and intercepts ``[labels]``."""
    from sklearn.linear_model import LogisticRegression

    def fit(column: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        fitted = LogisticRegression(C=10.0, max_iter=1000).fit(features, column)
        return fitted.coef_, fitted.intercept_

    def fit_one_label(applies: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        if len(np.unique(applies)) == 1:
            return np.zeros((1, features.shape[1])), np.array([_SURE if applies[0] else -_SURE])
        return fit(applies)

    if targets.ndim == 1:
        coefficients, intercepts = fit(targets)
        if len(coefficients) == 1:  # for two labels scikit-learn gives those of the second alone
            coefficients, intercepts = np.vstack([0 * coefficients, coefficients]), np.array([0.0, *intercepts])
    else:
        coefficients, intercepts = map(np.concatenate, zip(*map(fit_one_label, targets.T), strict=True))
    return {"coefficients": coefficients.astype(np.float32), "intercepts": intercepts.astype(np.float32)}
