"""The app's way in: answers are the logits', in order, whatever is asked."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

import compress
from compress.data import Dataset
from compress.errors import CompressError
from compress.modeling.checkpoint import save_checkpoint
from compress.runtime.classifier import Classifier
from compress.runtime.encoding import Text
from compress.runtime.predictor import by_length
from compress.runtime.session import OnnxPredictor
from tests.tiny import THREE_LABELS, make_bert, make_checkpoint, parts, read

TEXTS = [
    "good",
    "a very bad film with a dull story and awful fun",
    "",
    "the film is boring " * 9,
    "great film",
    "9 z ?",
]


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return read(tiny_data)


@pytest.fixture(scope="module")
def classifier(tiny_onnx: Path) -> Classifier:
    return compress.load(tiny_onnx, threads=1)


@pytest.fixture(scope="module", params=["multi_label", "pair_single_label", "pair_multi_label"])
def other_task(request: pytest.FixtureRequest, task_onnx: Callable[[str], Path]) -> Classifier:
    return compress.load(task_onnx(request.param))


@pytest.fixture(scope="module", params=["pair_single_label", "pair_multi_label"])
def pairs(request: pytest.FixtureRequest, task_onnx: Callable[[str], Path]) -> Classifier:
    return compress.load(task_onnx(request.param))


def asked(classifier: Classifier) -> Sequence[Text]:
    return [(text, "the story was fun") for text in TEXTS] if classifier.task.startswith("pair") else TEXTS


def test_scores_are_the_softmax_of_the_logits(classifier: Classifier) -> None:
    logits = classifier.logits(TEXTS)
    assert logits.shape == (len(TEXTS), 2)
    assert logits.dtype == np.float32
    for answer, expected in zip(classifier(TEXTS), softmax(logits.astype(np.float64), axis=1), strict=True):
        assert list(answer.scores) == list(classifier.labels) == ["negative", "positive"]
        assert list(answer.scores.values()) == pytest.approx(expected, abs=1e-6)
        assert answer.label == classifier.labels[expected.argmax()]
        assert answer.score == max(answer.scores.values())
        assert answer.labels == (answer.label,)


def test_the_answers_are_right(tiny_int8: Path, data: Dataset) -> None:
    answers = compress.load(tiny_int8)(data.test.texts)
    assert np.mean([(answer.label,) == truth for answer, truth in zip(answers, data.test.labels, strict=True)]) > 0.85


def test_other_tasks_answer_by_their_own_rules(other_task: Classifier) -> None:
    logits = other_task.logits(asked(other_task)).astype(np.float64)
    multi = other_task.task.endswith("multi_label")
    sizes = set()
    for answer, expected in zip(
        other_task(asked(other_task)), expit(logits) if multi else softmax(logits, axis=1), strict=True
    ):
        assert list(answer.scores.values()) == pytest.approx(expected, abs=1e-6)
        assert answer.label == THREE_LABELS[expected.argmax()]
        applying = tuple(name for name, score in zip(THREE_LABELS, expected, strict=True) if score >= 0.5)
        assert answer.labels == (applying if multi else (answer.label,))
        sizes.add(len(answer.labels))
    assert len(sizes) > 1 or not multi


def test_both_texts_of_a_pair_and_their_order_count(pairs: Classifier) -> None:
    logits = pairs.logits([("good", "bad"), ("bad", "good"), ("good", "good"), ["good", "bad"]])
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    assert np.abs(logits[0] - logits[2]).max() > 1e-3
    assert logits[0] == pytest.approx(logits[3], abs=1e-5)  # a list of two does as well as a tuple


def test_answers_keep_the_order_of_the_texts(classifier: Classifier, data: Dataset) -> None:
    texts = [*data.train.texts, *TEXTS] * 3  # several batches, of all lengths
    order = np.random.default_rng(0).permutation(len(texts))
    logits = classifier.logits(texts)
    assert classifier.logits([texts[row] for row in order]) == pytest.approx(logits[order], abs=1e-4)
    alone = np.concatenate([classifier.logits([text]) for text in texts[-6:]])
    assert alone == pytest.approx(logits[-6:], abs=1e-4)
    assert np.ptp(logits, axis=0).min() > 0.1


def test_any_iterable_of_texts_will_do(classifier: Classifier) -> None:
    expected = classifier(TEXTS)
    assert classifier(text for text in TEXTS) == expected
    assert classifier(tuple(TEXTS)) == expected
    assert classifier(dict.fromkeys(TEXTS).keys()) == expected


def test_no_texts_give_no_answers(classifier: Classifier, other_task: Classifier) -> None:
    assert classifier([]) == []
    assert classifier.logits([]).shape == (0, 2)
    assert other_task(iter(())) == []


def test_one_text_gets_one_answer(classifier: Classifier, pairs: Classifier) -> None:
    assert classifier(TEXTS[1]) == classifier([TEXTS[1]])[0]
    assert np.array_equal(classifier.logits(TEXTS[1]), classifier.logits([TEXTS[1]])[0])
    assert pairs(("good", "bad")) == pairs([("good", "bad")])[0]
    assert len(classifier(("good", "bad"))) == 2  # type: ignore[arg-type]  # two texts where none is a pair


@pytest.mark.parametrize("wrong", [None, 3, 2.5, b"bytes", True, object(), np.array("a text")])
def test_what_is_no_iterable_of_texts_is_refused(classifier: Classifier, wrong: object) -> None:
    asks: list[Callable[[Any], object]] = [classifier, classifier.logits, lambda texts: list(classifier.stream(texts))]
    for ask in asks:
        with pytest.raises(TypeError, match=r"texts must be a text or an iterable of them, got "):
            ask(wrong)
    with pytest.raises(TypeError, match=r"texts must be a text or an iterable of them, got 'a text'"):
        next(classifier.stream("a text"))


@pytest.mark.parametrize("broken", ["a \ud83d film", "\udce9", "\ude00\ud83d"])
def test_lone_surrogates_are_refused_by_position(classifier: Classifier, broken: str) -> None:
    at = next(index for index, character in enumerate(broken) if "\ud800" <= character <= "\udfff")
    with pytest.raises(
        ValueError, match=rf"texts\[1\] has a lone surrogate .* at character {at}, .*'replace'"
    ) as found:
        classifier(["fine", broken])
    assert isinstance(found.value, CompressError)
    assert "\n" not in str(found.value)
    str(found.value).encode()  # can be printed
    classifier(broken.encode("utf-8", "replace").decode())  # the remedy that the message names


def test_lone_surrogates_in_a_pair_are_refused_too(pairs: Classifier) -> None:
    with pytest.raises(ValueError, match=r"texts\[0\] has a lone surrogate"):
        pairs([("fine", "\ud83d")])


@pytest.mark.parametrize(
    "odd", ["", " ", "\0", "a\0b\x1b[31m\x7f\u200b", "\r\n\t", "\ufeff", "\u202e x", "x" * 200_000]
)
def test_odd_texts_are_answered_alone_and_among_others(classifier: Classifier, odd: str) -> None:
    alone, expected = classifier.logits([odd])[0], classifier.logits(["good"])[0]
    assert np.isfinite(alone).all()
    among = classifier.logits(["good", odd, "good"])
    assert among == pytest.approx(np.stack([expected, alone, expected]), abs=1e-4)


@pytest.mark.parametrize("wrong", [None, 3, 2.5, b"bytes", ("a", "pair"), ["a", "pair"], float("nan")])
def test_what_is_not_a_text_is_refused_by_position(classifier: Classifier, wrong: object) -> None:
    for ask in (classifier, classifier.logits):
        with pytest.raises(TypeError, match=r"texts\[2\] must be a str, got "):
            ask(["fine", "good", wrong, "great"])  # type: ignore[list-item]


@pytest.mark.parametrize("wrong", ["a text", None, ("one",), ("a", "b", "c"), ("a", None), 7])
def test_what_is_not_a_pair_is_refused_by_position(pairs: Classifier, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] must be a pair of texts, got "):
        pairs([("a", "b"), wrong])  # type: ignore[list-item]


@pytest.mark.parametrize("odd", [("", ""), ("", "good"), ("good", ""), ("\0", "\x1b[31m"), ("x" * 200_000, "good")])
def test_odd_pairs_are_answered_alone_and_among_others(pairs: Classifier, odd: tuple[str, str]) -> None:
    alone, expected = pairs.logits([odd])[0], pairs.logits([("good", "bad")])[0]
    assert np.isfinite(alone).all()
    among = pairs.logits([("good", "bad"), odd, ("good", "bad")])
    assert among == pytest.approx(np.stack([expected, alone, expected]), abs=1e-4)


def test_ten_million_characters_are_answered_in_either_half_of_a_pair(pairs: Classifier) -> None:
    head, whole = "good film " * 1_000, "good film " * 1_000_000
    for short, long in (((head, "bad"), (whole, "bad")), (("bad", head), ("bad", whole))):
        assert pairs.logits([long]) == pytest.approx(pairs.logits([short]), abs=1e-5)


def test_a_very_long_text_is_answered_by_its_head(classifier: Classifier) -> None:
    head = " ".join(TEXTS) * 20  # more than 128 tokens
    assert classifier.logits([head + " good" * 1_000_000]) == pytest.approx(classifier.logits([head]), abs=1e-5)
    beginning = "bad film " * 80
    assert classifier.logits([beginning]) == pytest.approx(classifier.logits([beginning + "great fun"]), abs=1e-5)
    assert np.abs(classifier.logits(["bad film"]) - classifier.logits(["bad film great fun"])).max() > 1e-3


@pytest.mark.parametrize("settings", [{"threads": 1}, {"threads": 2, "instances": 2}])
@pytest.mark.parametrize(("calls", "texts"), [(8, 60), pytest.param(15, 120, marks=pytest.mark.slow)])
def test_threads_that_share_a_classifier_get_their_own_answers(
    tiny_int8: Path, data: Dataset, settings: dict[str, int], calls: int, texts: int
) -> None:
    halves = [data.train.texts[:texts], data.train.texts[-texts:]]
    with compress.load(tiny_int8, **settings) as classifier:
        expected = [classifier.logits(half) for half in halves]
        start, found = threading.Barrier(2), [list[np.ndarray](), list[np.ndarray]()]

        def ask(number: int) -> None:
            start.wait()
            found[number] += [classifier.logits(halves[number]) for _ in range(calls)]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for answers, truth in zip(found, expected, strict=True):
        assert len(answers) == calls
        assert all(np.array_equal(answer, truth) for answer in answers)


@pytest.mark.parametrize("settings", [{"instances": 2}, {"instances": 3, "threads": 6}, {"batch_tokens": 1}])
def test_how_work_is_spread_does_not_change_answers(
    tiny_onnx: Path, classifier: Classifier, data: Dataset, settings: dict[str, int]
) -> None:
    texts = [*data.train.texts, *TEXTS]
    with compress.load(tiny_onnx, **({"threads": 2} | settings)) as other:
        assert other.logits(texts) == pytest.approx(classifier.logits(texts), abs=1e-4)


def test_in_int8_an_answer_does_not_depend_on_what_shares_its_call(tiny_int8: Path, data: Dataset) -> None:
    with compress.load(tiny_int8, threads=2, instances=2) as int8:
        together = int8.logits(data.test.texts)
        assert np.array_equal(together, np.stack([int8.logits(text) for text in data.test.texts]))
    with compress.load(tiny_int8, threads=1, batch_tokens=4096) as batched:
        assert not np.array_equal(batched.logits(data.test.texts), together)  # why it is not the default


@given(words=st.lists(st.integers(0, 150), min_size=2, max_size=40), batch_tokens=st.sampled_from([None, 64, 10**6]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_static_int8_scores_are_the_same_alone_and_in_any_batch(
    tiny_static: Path, words: list[int], batch_tokens: int | None
) -> None:
    rng = np.random.default_rng(sum(words))
    texts = [" ".join(rng.choice(["good", "bad", "film", "dull", "fun", "zq"], count)) for count in words]
    with compress.load(tiny_static, threads=1, batch_tokens=batch_tokens) as static:
        together = [list(answer.scores.values()) for answer in static(texts)]
        alone = [list(static(text).scores.values()) for text in texts]
    assert np.abs(np.array(together) - alone).max() < 1e-5


def test_static_int8_is_answered_in_batches_that_fit_the_caches(tiny_static: Path, data: Dataset) -> None:
    predictor = OnnxPredictor.open(tiny_static, threads=1)
    batches = list(by_length(list(map(len, predictor.encoder(data.train.texts))), predictor.batch_tokens))
    assert 1 < len(batches) < len(data.train.texts) / 10


def test_a_stream_reads_no_more_than_it_needs(classifier: Classifier) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield TEXTS[number % len(TEXTS)]

    answers = classifier.stream(endless())
    assert read == []
    found = list(itertools.islice(answers, 2000))
    assert len(read) <= 3000
    expected = classifier(TEXTS)
    for number, answer in enumerate(found):
        assert answer.label == expected[number % len(TEXTS)].label
        assert answer.score == pytest.approx(expected[number % len(TEXTS)].score, abs=1e-4)


def test_of_very_long_texts_a_stream_reads_few_ahead(classifier: Classifier) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield "good film " * 300_000

    assert next(classifier.stream(endless())).label == classifier("good film " * 1_000).label
    assert len(read) <= 4


def test_positions_count_over_all_that_was_read(classifier: Classifier) -> None:
    with pytest.raises(TypeError, match=r"texts\[2500\] must be a str, got None"):
        classifier([*["good"] * 2500, None])  # type: ignore[list-item]


def test_a_closed_classifier_says_so(tiny_onnx: Path) -> None:
    with compress.load(tiny_onnx, threads=2, instances=2) as classifier:
        assert classifier("good").label == "positive"
    for ask in (classifier, classifier.logits):
        with pytest.raises(CompressError, match="is closed"):
            ask(["good"])
    classifier.close()  # twice does no harm


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threads": 0}, "threads must be a whole number from 1 to 2147483647, got 0"),
        ({"threads": 2**31}, r"threads .* got 2147483648"),
        ({"threads": "2"}, r"threads .* got '2'"),
        ({"threads": 1.5}, r"threads .* got 1\.5"),
        ({"threads": 2, "instances": 3}, "instances must be a whole number from 1 to 2, the number of threads, got 3"),
        ({"instances": 0}, r"instances .* got 0"),
        ({"instances": "1"}, r"instances .* got '1'"),
        ({"threads": 2, "instances": 1.5}, r"instances .* got 1\.5"),
        ({"batch_tokens": 0}, r"batch_tokens .* \(1 answers each text alone\), got 0"),
        ({"batch_tokens": 4.5}, r"batch_tokens .* got 4\.5"),
    ],
)
def test_impossible_numbers_are_refused(tiny_onnx: Path, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(CompressError, match=words):
        compress.load(tiny_onnx, **settings)


def test_numbers_of_numpy_are_numbers(tiny_onnx: Path) -> None:
    assert compress.load(tiny_onnx, threads=np.int64(1), batch_tokens=np.int32(64))("good").label == "positive"  # type: ignore[arg-type]


def test_extreme_logits_become_probabilities(tiny_encoder: Path, tmp_path: Path) -> None:
    for task in ("single_label", "multi_label"):
        checkpoint = make_checkpoint(tiny_encoder, make_bert((4,), (128,)), ("a", "b"), task)
        classifier = parts(checkpoint.model).classifier
        classifier.weight.data[:] = 0
        classifier.bias.data[:] = classifier.bias.new_tensor([5000.0, -5000.0])
        save_checkpoint(checkpoint, tmp_path / task)
        compress.export(tmp_path / task, tmp_path / f"onnx-{task}")
        with np.errstate(all="raise", under="ignore"):
            (answer,) = compress.load(tmp_path / f"onnx-{task}")(["x"])
        assert answer.scores == {"a": 1.0, "b": 0.0}


def test_what_is_not_an_exported_folder_is_refused(tiny_torch: Path, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match="is a PyTorch model; make an ONNX one with 'compress export"):
        compress.load(tiny_torch)
    with pytest.raises(CompressError, match="no such folder"):
        compress.load(tmp_path / "none")
