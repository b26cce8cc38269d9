import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import compress
from compress.benchmark.backends.baselines import BaselinePredictor, fit_baselines, pooled, terms_of, word_embeddings
from compress.data import Dataset, Split
from compress.errors import CompressError
from compress.evaluation.metrics import score
from compress.families import FAMILIES
from compress.families.family import Family
from compress.folder import read_manifest, write_manifest
from compress.runtime.long_texts import LongTexts
from compress.runtime.predictor import predict_logits
from tests.conftest import FILLERS, WORDS
from tests.families.models import make_model
from tests.tiny import read


def test_both_learn_what_words_tell(tiny_torch: Path, tiny_data: Path, tmp_path: Path) -> None:
    dataset = read(tiny_data)
    tf_idf, static = (BaselinePredictor(folder) for folder in fit_baselines(dataset, tiny_torch, tmp_path))
    targets = dataset.test.targets(dataset.labels, dataset.task)
    for baseline in (tf_idf, static):
        logits = predict_logits(baseline, dataset.test.texts)
        assert score("accuracy", logits, targets) > 0.9
        alone = np.concatenate([predict_logits(baseline, [text]) for text in dataset.test.texts])
        assert alone == pytest.approx(logits, abs=1e-5)  # padding does not count


def test_tf_idf_is_scikit_learns_own(tiny_torch: Path, tiny_data: Path, tmp_path: Path) -> None:
    dataset = read(tiny_data)
    baseline = BaselinePredictor(fit_baselines(dataset, tiny_torch, tmp_path)[0])
    vectors = TfidfVectorizer(analyzer=lambda text: terms_of(baseline.encoder([text])[0].ids))
    classes = dataset.train.targets(dataset.labels, dataset.task)
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(vectors.fit_transform(dataset.train.texts), classes)
    logits = predict_logits(baseline, dataset.test.texts)
    expected = fitted.decision_function(vectors.transform(dataset.test.texts))
    assert logits[:, 1] - logits[:, 0] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("reads", [LongTexts("head-tail"), LongTexts("windows", 2)], ids=lambda reads: reads.mode)
def test_they_read_as_much_of_a_long_text_as_the_model(reads: LongTexts, tiny_torch: Path, tmp_path: Path) -> None:
    texts = [" ".join([*FILLERS[:2] * 10, word]) for words in WORDS.values() for word in words]
    split = Split(list(texts), [(label,) for label, words in WORDS.items() for _ in words])
    dataset = Dataset("single_label", tuple(WORDS), split, split, split)
    shutil.copytree(tiny_torch, model := tmp_path / "model")
    write_manifest(model, replace(read_manifest(model), max_length=8, long_texts=reads.entry))
    for folder in fit_baselines(dataset, model, tmp_path):
        logits = predict_logits(BaselinePredictor(folder), texts)
        assert score("accuracy", logits, split.targets(dataset.labels, dataset.task)) == 1


def test_a_pair_of_tokens_is_no_token_and_has_an_order() -> None:
    assert len(set(terms_of([0, 0, 1, 0]))) == 2 + 3
    assert set(terms_of([1, 2])) != set(terms_of([2, 1]))


def test_pooling_is_a_mean_of_length_one() -> None:
    table = np.array([[3.0, 0.0], [0.0, 4.0]])
    assert pooled(table, [0, 1]) == pytest.approx(np.array([0.6, 0.8]))


def test_multi_label_with_a_label_that_never_applies(tiny_torch: Path, tmp_path: Path) -> None:
    texts = ["good film", "bad film", "good fun", "bad mess"] * 5
    rows = [("good",), (), ("good", "fun"), ()] * 5
    split = Split(list(texts), list(rows))
    dataset = Dataset("multi_label", ("fun", "good", "never"), split, split, split)
    for folder in fit_baselines(dataset, tiny_torch, tmp_path):
        logits = predict_logits(BaselinePredictor(folder), texts)
        assert ((logits > 0) == split.targets(dataset.labels, dataset.task)).all()


def test_embeddings_are_the_same_in_both_formats_and_missed_in_int8(
    tiny_torch: Path, tiny_onnx: Path, tiny_int8: Path
) -> None:
    assert (word_embeddings(tiny_torch) == word_embeddings(tiny_onnx)).all()
    with pytest.raises(CompressError, match="name a PyTorch or fp32 ONNX folder"):
        word_embeddings(tiny_int8)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_the_embeddings_of_every_family_are_found(family: Family, tmp_path: Path) -> None:
    (model := make_model(family)).save_pretrained(tmp_path)
    whole: Any = model  # transformers' stub makes the embeddings a tensor
    assert (word_embeddings(tmp_path) == whole.get_input_embeddings().weight.detach().numpy()).all()


@pytest.mark.usefixtures("forked_workers")
def test_bench_shows_them_beside_the_models(tiny_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    compress.bench(tiny_onnx, tiny_data, out, baselines=True, seconds=0.1, threads=1)
    models = json.loads((out / "results.json").read_text())["models"]
    assert [(model["name"], model["backend"]) for model in models[1:]] == [("tf-idf", "numpy"), ("static", "numpy")]
    assert all(model["accuracy"]["value"] > 0.9 for model in models[1:])
    assert all(model["latency"][0]["p50_ms"] > 0 for model in models)
