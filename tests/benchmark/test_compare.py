from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compress.benchmark.findings import Measured
from compress.benchmark.judge import judge
from compress.benchmark.measure import compare
from compress.benchmark.model_worker import ModelInfo
from compress.benchmark.protocol import other_half, timed_texts
from compress.benchmark.report.recommend import recommend
from compress.benchmark.report.speedup import answer_interval_ms, answer_ms
from compress.benchmark.rows import Row
from compress.benchmark.workload import REAL, summarise
from compress.config import BenchConfig
from compress.data import Split
from compress.runtime.decision import Decision, probabilities


def measured(task: str, labels: tuple[str, ...], logits: list[list[float]], p50_ms: float, size: int) -> Measured:
    info = ModelInfo(labels, task, 64, 4096, "torch", None, "fp32", size, 10)
    latency = [summarise(REAL, 1, [np.array([p50_ms] * 3)])]
    return Measured(Row(Path("nowhere")), info, np.asarray(logits, dtype=np.float32), latency)


def test_models_with_their_labels_in_another_order_are_matched_by_name() -> None:
    test = Split(texts=["1", "2", "3"], labels=[("a",), ("b",), ("b",)])
    models = {
        "first": measured("single_label", ("a", "b"), [[2, 1], [1, 2], [2, 1]], p50_ms=6.0, size=40),
        "other": measured("single_label", ("b", "a"), [[1, 2], [2, 1], [1, 2]], p50_ms=2.0, size=10),
    }
    first, other = compare(models, test, BenchConfig())
    assert first["accuracy"]["value"] == other["accuracy"]["value"] == pytest.approx(2 / 3)
    assert other["versus_first"]["agreement"] == 1.0
    assert other["versus_first"]["speedup_p50"] == pytest.approx(3)
    assert other["versus_first"]["size_ratio"] == pytest.approx(4)


@pytest.mark.parametrize("labels", [("0", "1"), ("1", "0")])
def test_f1_is_of_the_second_label_whatever_the_models_order(labels: tuple[str, str]) -> None:
    test = Split(texts=list("abcd"), labels=[("1",), ("1",), ("1",), ("0",)])
    # "1" is said of the first three and of the last: 3 hits, 1 false alarm, nothing missed.
    says_one = [2, 1] if labels[0] == "1" else [1, 2]
    models = {"only": measured("single_label", labels, [list(map(float, says_one))] * 4, p50_ms=1.0, size=1)}
    accuracy = compare(models, test, BenchConfig(metric="f1"))[0]["accuracy"]
    assert (accuracy["metric"], accuracy["value"]) == ("f1", pytest.approx(6 / 7))


def test_multi_label_models_agree_only_on_whole_label_sets() -> None:
    test = Split(texts=["1", "2"], labels=[("a", "b"), ()])
    models = {
        "first": measured("multi_label", ("a", "b"), [[1, 1], [-1, -1]], p50_ms=1.0, size=1),
        "other": measured("multi_label", ("a", "b"), [[1, -1], [-1, -1]], p50_ms=1.0, size=1),
    }
    first, other = compare(models, test, BenchConfig())
    assert (first["accuracy"]["metric"], first["accuracy"]["value"]) == ("macro_f1", 1.0)
    assert other["accuracy"]["value"] == 0.5
    assert other["versus_first"]["agreement"] == 0.5
    assert other["versus_first"]["accuracy_delta"] == -0.5


def test_a_text_whose_score_is_exactly_the_least_is_answered_as_in_the_app() -> None:
    logits = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    test = Split(texts=[str(row) for row in range(40)], labels=[("a",)] * 40)
    model = measured("single_label", ("a", "b", "c"), logits.tolist(), p50_ms=1.0, size=1)
    scores = probabilities(logits, multi_label=False).max(axis=1).tolist()
    for least in scores:
        model.info = replace(model.info, decision=Decision(abstain_below=least))
        answered = sum(not model.info.decision.applies("it", {"it": score}, "single_label")[1] for score in scores)
        assert judge({"it": model}, test, None, 0)["it"]["accuracy"]["selection"]["answered"] == answered


def test_beside_a_cascade_all_models_are_compared_by_the_mean() -> None:
    """Its median is that of its small model, by which it would be the fastest."""
    test = Split(texts=list("abcde"), labels=[("x",), ("y",), ("y",), ("x",), ("y",)])
    answers = [[2.0, 1.0], [1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]
    names = ("large", "medium", "joined")
    models = {name: measured("single_label", ("x", "y"), answers, p50_ms=1.0, size=1) for name in names}
    models["joined"].info = replace(models["joined"].info, hand_on_below=0.9)
    models["joined"].handed_on = [3]
    rounds = ([50.0, 60.0, 70.0, 60.0, 100.0], [20.0, 12.0, 12.0, 12.0, 14.0], [6.0, 6.0, 6.0, 76.0, 6.0])
    for name, times in zip(names, rounds, strict=True):
        models[name].answer_ms = [np.array(times)] * 4
    entries = compare(models, test, BenchConfig())
    assert [answer_ms(entry) for entry in entries] == pytest.approx([68, 14, 20])
    assert [answer_interval_ms(entry) for entry in entries] == [(68, 68), (14, 14), (20, 20)]
    assert [entry["versus_first"]["speedup_answer"] for entry in entries] == pytest.approx([1, 68 / 14, 68 / 20])
    assert recommend(entries).name == "medium"
    assert entries[2]["cascade"] == {"hand_on_below": 0.9, "handed_on": 0.2}
    del models["joined"]
    assert [answer_ms(entry) for entry in compare(models, test, BenchConfig())] == [60, 12]


def test_any_few_texts_in_a_row_are_handed_on_as_often_as_all() -> None:
    test = Split(texts=[str(number) for number in range(1000)], labels=[])
    model = measured("single_label", ("x", "y"), [[1.0, 2.0]], p50_ms=1.0, size=1)
    plain = timed_texts(test, {"large": model}, seed=0)
    model.handed_on = list(range(200))
    texts = timed_texts(test, {"large": model}, seed=0)
    easy = [text for text in plain if int(str(text)) >= 200]
    assert len(set(texts)) == len(set(plain)) == 512
    assert {sum(int(str(text)) < 200 for text in texts[at : at + 5]) for at in range(0, 510, 5)} == {1}
    assert [text for text in texts if text in easy][:50] == easy[:50]  # drawn at random all the same
    assert sorted(other_half(texts)) == sorted(texts)
    assert not {*other_half(texts)[:256]} & {*texts[:256]}
