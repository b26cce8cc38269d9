"""The file of answers made elsewhere: what is read, what is said of it and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from compress.config import DistillConfig
from compress.data import Dataset, Split
from compress.distillation.answers import read_answers
from compress.distillation.objective import Distillation
from compress.distillation.soft_targets import ANSWERED, AnswerOutputs, as_logits
from compress.errors import CompressError
from compress.runtime.encoding import Text
from compress.training.optimization import TEACHER_PREFIX
from tests.tiny import make_bert, write_rows

LABELS = ("bad", "good")
TEXTS: list[Text] = ["a film", "a story", "the end"]
SINGLE = Dataset("single_label", LABELS, Split(TEXTS, [("bad",)] * 3), Split([], []), Split([], []))
MULTI = Dataset("multi_label", LABELS, SINGLE.train, Split([], []), Split([], []))
PAIRS = Dataset("pair_single_label", LABELS, Split([("a film", "the end")], [("bad",)]), Split([], []), Split([], []))


def written(folder: Path, content: Any, name: str = "answers.csv") -> str:
    if isinstance(content, list):
        return str(write_rows(folder / "answers.jsonl", content))
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


@pytest.mark.parametrize(
    ("data", "content", "expected"),
    [
        (SINGLE, "text,answer\na film,good\na story,bad\n", [[0, 1], [1, 0]]),
        (SINGLE, "text,label\na film,good\na story,bad\n", [[0, 1], [1, 0]]),
        (SINGLE, "text,good,bad\na film,0.75,0.25\na story,0,1.0\n", [[0.25, 0.75], [1, 0]]),
        (
            SINGLE,
            'text,answer\na film,"{""good"": 0.75, ""bad"": 0.25}"\na story,"{""bad"": 1}"\n',
            [[0.25, 0.75], [1, 0]],
        ),
        (MULTI, [{"text": "a film", "answer": ["good", "bad"]}, {"text": "a story", "answer": []}], [[1, 1], [0, 0]]),
        (
            MULTI,
            [{"text": "a film", "answer": {"good": 0.9, "bad": 0.8}}, {"text": "a story", "answer": {}}],
            [[0.8, 0.9], [0, 0]],
        ),
    ],
)
def test_labels_lists_and_probabilities_are_read(data: Dataset, content: Any, expected: Any, tmp_path: Path) -> None:
    found = read_answers(written(tmp_path, content), data, LABELS)
    assert np.array_equal(found.probabilities(TEXTS[:2]), expected)
    assert np.isnan(found.probabilities(TEXTS[2:])).all()
    assert found.are_labels == ("0." not in str(content))


@pytest.mark.parametrize("labels", [("image", "text"), ("answer", "text"), ("label", "text")])
def test_a_label_may_be_called_like_a_column(labels: tuple[str, ...], tmp_path: Path) -> None:
    data = Dataset("single_label", labels, Split(TEXTS, [labels[:1]] * 3), Split([], []), Split([], []))
    rows: list[dict[str, Any]] = [{"text": "a film", "answer": "text"}, {"text": "a story", "answer": labels[0]}]
    for answer in ("answer", "label"):
        path = written(tmp_path, [{"text": row["text"], answer: row["answer"]} for row in rows])
        assert np.array_equal(read_answers(path, data, labels).probabilities(TEXTS[:2]), [[0, 1], [1, 0]])


def test_answers_to_pairs_and_columns_of_the_datas_own_names(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"one": "a film", "two": "the end", "answer": "good"}]
    found = read_answers(written(tmp_path, rows), PAIRS, LABELS, ["one", "two"])
    assert found.by_text.keys() == {("a film", "the end")}
    with pytest.raises(CompressError, match="single texts, unlike the data"):
        read_answers(written(tmp_path, "text,answer\na film,good\n"), PAIRS, LABELS, ["one", "two"])


def test_answers_are_in_utf_8_whatever_the_data_are_in(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_bytes("text,answer\na café,good\n".encode("cp1252"))
    with pytest.raises(CompressError, match=r"line 2: not UTF-8 .*; save it in UTF-8"):
        read_answers(str(path), SINGLE, LABELS)


def test_coverage_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = "text,answer\na film,good\na film,good\na story,\nanother,bad\n"
    read_answers(written(tmp_path, content), SINGLE, LABELS)
    (line,) = capsys.readouterr().err.splitlines()
    for said in ("1 of 3 train texts", "the other 2 learn from the data's labels alone", "1 rows have no answer"):
        assert said in line
    assert "1 answers are to other texts" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "text,answer\na film,fine\na story,poor\nthe end,good\n",
            'line 2: "fine", "poor" are not among .* bad, good;',
        ),
        (
            "text,answer\na film,good\na story,bad\na film,bad\n",
            "line 4: 'a film' has the answer bad 1, but good 1 in .*line 2",
        ),
        ("text,good,bad\na film,0.9,0.3\n", "line 2: the probabilities sum to 1.2"),
        ("text,good,bad\na film,1.1,-0.1\n", "line 2: the probability of \"bad\" is '-0.1'; give a number from 0 to 1"),
        ("text,good,bad\na film,0.5,nan\n", "probability of \"bad\" is 'nan'"),
        ([{"text": "a film", "answer": {"good": 10**400, "bad": 0}}], 'line 1: the probability of "good" is 1000'),
        ("text,good\na film,0.5\n", "has no column for bad"),
        ("text,label,good\na film,good,0.5\n", "has no column for bad"),
        ("text,answer\na film,\n", "no row has an answer"),
        ("text,answer\nanother,good\n", "no answer for any of the 3 train texts, such as 'a film'"),
        (
            [{"text": "a film", "answer": {"good": 1}}, {"text": "a story", "answer": "bad"}],
            "line 2: 'bad', where the first",
        ),
        (
            [{"text": "a film", "answer": "good"}, {"text": "a story", "answer": {"bad": 1}}],
            "line 2: has probabilities",
        ),
        ([{"text": "a film", "answer": {"good": 0.5, "dull": 0.5}}], 'line 1: "dull" is not among the model'),
        ([{"text": "a film", "answer": "dull"}, {"text": "a story", "answer": "dull"}], 'line 1: "dull" is not'),
        ("body,answer\na film,good\n", "name it with --unlabeled-text COLUMN"),
        ("text,verdict\na film,good\n", "no column is called answer; rename that of the answers: text, verdict"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(content: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=said) as caught:
        read_answers(written(tmp_path, content), SINGLE, LABELS)
    assert "\n" not in str(caught.value)
    assert "answers." in str(caught.value)


def test_at_most_five_wrong_labels_are_shown(tmp_path: Path) -> None:
    content = "text,answer\n" + "".join(f"text {number},wrong {number}\n" for number in range(8))
    with pytest.raises(CompressError, match='"wrong 4" and 3 more are not among'):
        read_answers(written(tmp_path, content), SINGLE, LABELS)


@pytest.mark.parametrize("multi_label", [False, True])
def test_logits_stand_for_their_probabilities(multi_label: bool) -> None:
    answers = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64)
    logits = as_logits(answers, multi_label=multi_label)
    again = logits.sigmoid() if multi_label else logits.softmax(dim=-1)
    assert torch.allclose(again.double(), answers, atol=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_label_teaches_as_a_hard_label_does_and_a_text_without_answer_nothing(multi_label: bool) -> None:
    answers = np.array([[0.0, 1.0], [np.nan, np.nan], [1.0, 0.0]])
    batch = {"input_ids": torch.zeros(3, 1), "attention_mask": torch.ones(3, 1), "labelled": torch.zeros(3).bool()}
    states = AnswerOutputs(answers, multi_label)([0, 1, 2], batch)
    batch |= {TEACHER_PREFIX + name: state for name, state in states.items()}
    assert states[ANSWERED].tolist() == [True, False, True]
    config = DistillConfig.parse({"soft_weight": 1, "hard_weight": 0, "temperature": 1})
    objective = Distillation(make_bert(), make_bert(), config, multi_label=multi_label)
    logits = torch.tensor([[0.3, -0.2], [5.0, 1.0], [-1.0, 2.0]], requires_grad=True)
    loss = objective({"logits": logits}, batch)["loss"]
    kept, wanted = logits[[0, 2]], torch.tensor([1, 0])
    if multi_label:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(kept, torch.eye(2)[wanted])
    else:
        expected = torch.nn.functional.cross_entropy(kept, wanted)
    assert loss.item() == pytest.approx(expected.item() * 2 / 3, rel=1e-5)
    loss.backward()
    assert logits.grad is not None and logits.grad[1].abs().max() == 0


def test_null_in_an_object_is_no_probability(tmp_path: Path) -> None:
    """Parquet gives each row of objects all keys."""
    path = written(tmp_path, [{"text": "a film", "answer": {"good": None, "bad": 1.0}}])
    assert np.array_equal(read_answers(path, SINGLE, LABELS).probabilities(TEXTS[:1]), [[1, 0]])


def test_answers_that_nothing_reads_are_refused() -> None:
    with pytest.raises(CompressError, match="soft_weight above 0"):
        DistillConfig.parse({"teacher_answers": "answers.csv", "soft_weight": 0.0})
