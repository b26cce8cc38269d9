"""Splits made here are deterministic, stratified and without leaks."""

import hashlib
import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.data import Dataset
from compress.data.split import hold_out, identical, kindred

Read = Callable[..., Dataset]
Refusal = Callable[..., str]

WORDS = [f"word{number}" for number in range(4000)]
LABELS = {"common": 70, "usual": 25, "rare": 5}


def sentences(count: int, words: int = 12, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


def csv_rows(texts: list[str]) -> str:
    names = list(Counter(LABELS).elements())
    return "text,label\n" + "".join(f"{text},{names[row % len(names)]}\n" for row, text in enumerate(texts))


def test_one_file_is_split_into_tenths_by_label(read: Read) -> None:
    dataset = read({"all.csv": csv_rows(sentences(1000))}, "all.csv")
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [len(split) for split in splits] == [800, 100, 100]
    for split in splits:
        shares = {label: count * 100 / len(split) for (label,), count in Counter(split.labels).items()}
        assert shares == LABELS
    assert sorted(text for split in splits for text in split.texts) == sorted(map(str, sentences(1000)))


def test_validation_is_a_tenth_of_train_and_never_above_2000_rows(read: Read) -> None:
    other = "text,label\nelsewhere,rare\n"
    small = read({"train.csv": csv_rows(sentences(500)), "test.csv": other})
    assert (len(small.train), len(small.validation)) == (450, 50)
    assert small.test.texts == ["elsewhere"]
    large = read({"train.csv": csv_rows(sentences(21_000, words=5)), "test.csv": other})
    assert (len(large.train), len(large.validation)) == (19_000, 2_000)


def test_the_seed_decides_the_split(read: Read) -> None:
    files: dict[str, str | bytes] = {"all.csv": csv_rows(sentences(300))}
    first, again, other = (read(files, "all.csv", split_seed=seed) for seed in (3, 3, 4))
    assert first.digest == again.digest
    assert set(first.validation.texts) != set(other.validation.texts)


def test_phrases_of_a_sentence_stay_on_its_side(read: Read) -> None:
    rng = random.Random(1)
    whole = sentences(300)
    phrases = []
    for sentence in whole:
        words = sentence.split()
        for length in (2, 4, 6, 9):
            start = rng.randrange(len(words) - length)
            phrases.append(" ".join(words[start : start + length]))
    texts = whole + phrases
    rng.shuffle(texts)
    dataset = read({"all.csv": csv_rows(texts)}, "all.csv")
    sides = [f" {' | '.join(map(str, split.texts))} " for split in (dataset.train, dataset.validation, dataset.test)]
    for phrase in phrases:
        assert sum(f" {phrase} " in side for side in sides) == 1


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("Cold movie!", "cold movie", True),
        (":)", ":(", False),
        ("a smile on your face", "she will put a smile on your face again", True),
        ("cold movie", "such a cold movie it is", True),
        ("a smile on your chin", "she will put a smile on your face again", False),
        ("x one two three four five six seven eight", "one two three four five six seven eight y", True),
        ("x one two three four five six seven z", "one two three four five six seven y z", False),
        ("片这部老电影的故事非常感人而", "看过这部老电影的故事非常感人了", True),
        ("片这部电影的故事很好", "看过这部电影的故事不好", False),
        ("这部电影。非常好看", "这部电影非常好看。", True),
        ("好看的电影", "真是好看的电影", True),
        ("この映画はとても面白かった", "この映画はとても面白かったです", True),
        ("หนังเรื่องนี้สนุกมาก", "หนังเรื่องนี้สนุกมากๆ", True),
        ("หนังเรื่องนี้สนุกมาก", "อาหารร้านนี้อร่อยดีค่ะ", False),
        ("a 好看的电影 b", "好看的电影", True),
        (("what is it for", "a"), ("b", "What is it for?"), True),
        (("is it", "yes"), ("was it", "yes"), False),
        (("one two three four", "five six seven eight"), ("three four five six", "z"), False),
    ],
)
def test_kin_are_recognised(one: str, other: str, together: bool) -> None:
    groups = kindred([one, other])
    assert (groups[0] == groups[1]) == together


def test_stock_phrases_do_not_glue_texts_together() -> None:
    template = "please tell me what you think about the new "
    assert len(set(kindred([template + text for text in sentences(400, words=5)]))) > 300
    common = ["what do you think", *(f"{text} what do you think" for text in sentences(200))]
    assert len(set(kindred(common))) == 200
    assert len(set(kindred([*sentences(50), *(f"movie {text}" for text in sentences(50, seed=1)), "movie"]))) == 100
    pairs = [(text, "yes it is") for text in sentences(60)] + [("so", "yes it is so")]
    assert len(set(kindred(pairs))) == 61


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), min_size=1, max_size=12))
def test_equal_texts_are_always_kin(texts: list[str]) -> None:
    groups, same = kindred(texts), identical(texts)
    for row, text in enumerate(texts):
        for other in range(row):
            assert (same[row] == same[other]) == (text == texts[other])
            assert groups[row] == groups[other] or text != texts[other]


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from(WORDS[:20]), st.sets(st.sampled_from("pqr"))), min_size=2, max_size=60),
    share=st.floats(0.05, 0.45),
    seed=st.integers(0, 5),
)
def test_no_row_is_lost_and_every_label_stays(rows: list[tuple[str, set[str]]], share: float, seed: int) -> None:
    texts, labels = [text for text, _ in rows], [tuple(sorted(names)) for _, names in rows]
    size = max(1, round(share * len(rows)))
    *held_out, rest = hold_out(texts, labels, [size, size], seed)
    assert sorted(sum(held_out, rest)) == list(range(len(rows)))
    assert all(len(split) <= size and split == sorted(split) for split in held_out)
    assert {name for row in rest for name in labels[row]} == {name for names in labels for name in names}
    sides = [{texts[row] for row in part} for part in (*held_out, rest)]
    assert sum(map(len, sides)) == len(set(texts))


@pytest.mark.parametrize("seed", range(10))
def test_a_label_stays_though_rarer_ones_share_all_its_rows(seed: int) -> None:
    labels = [("b", "z"), ("c", "z"), ("b",), ("c",)]
    _, rest = hold_out(sentences(4), labels, [2], seed)
    assert {name for row in rest for name in labels[row]} == {"b", "c", "z"}


def test_texts_that_are_all_kin_are_split_all_the_same() -> None:
    sentence = sentences(1, words=70)[0].split()
    texts = [" ".join(sentence[start : start + 10]) for start in range(60)]
    assert len(set(kindred(texts))) == 1
    held_out, rest = hold_out(texts, [("a",), ("b",)] * 30, [6], seed=0)
    assert (len(held_out), len(rest)) == (6, 54)


def test_small_classes_are_held_out_in_proportion() -> None:
    labels = [(f"intent{number % 40}",) for number in range(160)]
    held_out, _ = hold_out(sentences(160), labels, [16], seed=0)
    assert len(held_out) == 16
    assert max(Counter(labels[row] for row in held_out).values()) == 1


def digest(*rows: list[int]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def test_the_same_data_are_split_as_in_earlier_versions() -> None:
    """Else a model made with one version would be measured by the next on texts that it was trained on."""
    rng = random.Random(2)
    texts = sentences(300) + sentences(200, words=2) + sentences(60, words=4)
    texts += [" ".join(rng.choice(texts).split()[rng.randrange(4) :]) for _ in range(300)]
    texts += [f"please tell me what you think about the new {text}" for text in sentences(120, words=3, seed=3)]
    texts += ["".join(rng.choices("人主多而产不我和 ab,.กขค", k=rng.randrange(30))) for _ in range(300)]
    labels = [tuple(rng.sample("pqrst", k=rng.randint(1, 2))) for _ in texts]
    pairs = [(text, rng.choice(texts)) for text in texts]
    assert digest(kindred(texts).tolist()) == "d3e0ee2f87b9c68f"
    assert digest(kindred(pairs).tolist()) == "2673bee9cdca62fa"
    assert digest(identical(pairs + pairs[::-1]).tolist()) == "f31154f60770e54c"
    assert digest(*hold_out(texts, labels, [100, 60], seed=4)) == "8772d2f12d1f0835"


def test_a_split_takes_little_memory_for_each_word() -> None:
    texts = sentences(1500, words=200)
    tracemalloc.start()
    kindred(texts)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most / 300_000 < 80  # bytes; 190 with words kept as strings


def test_a_long_comparison_is_announced(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    kindred(sentences(10))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("compress.data.split._MANY_WORDS", 100)
    kindred(sentences(10))
    assert capsys.readouterr().err.startswith("data: 120 words are compared")


def test_too_few_rows_are_refused(refusal: Refusal) -> None:
    message = refusal({"all.csv": "text,label\none,x\ntwo,y\nthree,y\n"}, "all.csv")
    assert message == (
        "all.csv: no split can be held out of 3 rows: they have 3 different texts, and 1 of 2 labels have a row "
        "to spare (a label's last row stays for training); give --validation FILE and --test FILE"
    )


def test_groups_are_numbered_from_zero_without_gaps() -> None:
    groups = kindred(sentences(30) * 2)
    assert np.array_equal(np.unique(groups), np.arange(30))
