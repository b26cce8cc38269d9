"""Sources, columns, tasks and labels, through the one entrance."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from compress.config import DataConfig
from compress.data import Dataset, Split, sources
from compress.data.files import read_table
from compress.data.read import read_dataset, read_test
from compress.data.tables import Table
from compress.errors import CompressError

Read = Callable[..., Dataset]
Refusal = Callable[..., str]

TRAIN = "text,label\nfine,pos\nbad,neg\ngood,pos\n"
DEV = "text,label\nso so,neg\n"
TEST = "text,label\nnice,pos\n"
FOLDER: dict[str, str | bytes] = {"train.csv": TRAIN, "dev.csv": DEV, "test.csv": TEST}


def jsonl(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_folder_s_own_splits_are_left_as_they_are(read: Read) -> None:
    dataset = read(FOLDER)
    assert (dataset.task, dataset.labels) == ("single_label", ("neg", "pos"))
    assert dataset.train == Split(["fine", "bad", "good"], [("pos",), ("neg",), ("pos",)])
    assert dataset.validation == Split(["so so"], [("neg",)])
    assert dataset.test == Split(["nice"], [("pos",)])


@pytest.mark.parametrize(
    "name", ["validation.csv", "my_valid.csv", "VAL.csv", "imdb-dev.csv", "validation-00000-of-00001.csv"]
)
def test_a_split_is_known_by_a_word_of_its_file_name(read: Read, name: str) -> None:
    not_splits: dict[str, str | bytes] = {"contest_retrained.csv": "", "train_and_test.csv": "", "train.py": ""}
    dataset = read({"train.csv": TRAIN, name: DEV, **not_splits, "test.csv": TEST})
    assert dataset.validation.texts == ["so so"]


def test_shards_are_read_in_order(read: Read) -> None:
    shards: dict[str, str | bytes] = {
        "train-00000-of-00002.csv": TRAIN,
        "train-00001-of-00002.csv": DEV,
        "dev.csv": DEV,
        "test.csv": DEV,
    }
    assert read(shards).train.texts == ["fine", "bad", "good", "so so"]


def test_a_folder_without_test_has_one_held_out_of_train(read: Read) -> None:
    rows = "".join(f"text {number},{'pos' if number % 2 else 'neg'}\n" for number in range(40))
    dataset = read({"train.csv": f"text,label\n{rows}", "dev.csv": DEV})
    assert dataset.validation.texts == ["so so"]
    assert len(dataset.test) == 4
    assert sorted(dataset.train.texts + dataset.test.texts) == sorted(f"text {number}" for number in range(40))


def test_single_splits_can_be_replaced(read: Read, tmp_path: Path) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("sentence\tlabel\nelsewhere\tpos\n")
    for split in ("train", "validation", "test"):
        given = {split: str(other)}
        if split == "train":
            other.write_text("sentence\tlabel\nelsewhere\tpos\nnowhere\tneg\n")
        replaced = getattr(read(FOLDER, **given), split)
        assert replaced.texts[0] == "elsewhere"


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Sentence,Label", "a"),
        ("review,category", "a"),
        ("text,Text,label", "a"),
        ("id,text,intent", "b"),
        ("sentence1,sentence2,label", ("a", "b")),
        ("text,text_pair,label", ("a", "b")),
        ("question2,question1,label", ("b", "a")),
        ("Premise,Hypothesis,label", ("a", "b")),
        ("#1 String,#2 String,Quality", ("a", "b")),
    ],
)
def test_usual_columns_are_recognised(read: Read, header: str, text: object) -> None:
    width = header.count(",")
    rows = "".join(f"{','.join('abc'[:width])},{label}\n" for label in "xy")
    dataset = read({"train.csv": f"{header}\n{rows}", "dev.csv": f"{header}\n{rows}", "test.csv": f"{header}\n{rows}"})
    assert dataset.train.texts[0] == text
    assert dataset.labels == ("x", "y")
    assert dataset.task == ("single_label" if isinstance(text, str) else "pair_single_label")


def test_named_columns_win_over_usual_ones(read: Read) -> None:
    rows = "text,label,b,a,kind\nt,l,second,first,x\nt,l,second,first,y\n"
    dataset = read({"train.csv": rows, "dev.csv": rows, "test.csv": rows}, text=["a", "b"], label="kind")
    assert dataset.train.texts[0] == ("first", "second")
    assert dataset.labels == ("x", "y")


def test_a_label_has_one_name_in_every_format(read: Read, tmp_path: Path) -> None:
    parquet = tmp_path / "test.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1.0, 0.0]}), parquet)
    rows = jsonl({"text": "a", "label": 1}, {"text": "b", "label": 0})
    dataset = read({"train.csv": "text,label\nx,0\ny,1\n", "dev.jsonl": rows})
    assert dataset.labels == ("0", "1")
    assert dataset.validation.labels == [("1",), ("0",)]
    assert dataset.test.labels == [("1",), ("0",)]


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("most", "odd", "message"),
    [
        (["x", "y"], "x", "'x' where other rows have a list of labels; give every row a list, or none"),
        (["x", "y"], "", "'' where other rows have a list of labels; give every row a list, or none"),
        ("x", ["x", "y"], "a list of labels where other rows have one label; give every row a list, or none"),
    ],
)
def test_of_lists_and_single_labels_the_odd_one_is_named(
    most: object, odd: object, message: str, ending: str, refusal: Refusal
) -> None:
    def cell(label: object) -> str:
        return label if isinstance(label, str) else json.dumps(json.dumps(label)).replace('\\"', '""')

    labels = [most, most, most, odd, most]
    if ending == "csv":
        content = "text,label\n" + "".join(f"film {row},{cell(label)}\n" for row, label in enumerate(labels))
    else:
        content = jsonl(*({"text": f"film {row}", "label": label} for row, label in enumerate(labels)))
    line = 5 if ending == "csv" else 4
    assert refusal({f"train.{ending}": content}) == f"train.{ending}, line {line}: {message}"


def test_names_in_brackets_may_stand_among_others(read: Read) -> None:
    assert read(FOLDER | {"train.csv": TRAIN + "so,[other]\n"}).labels == ("[other]", "neg", "pos")


def test_other_splits_are_read_from_the_columns_of_train(read: Read, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "train.csv": "review,category\nfine,pos\nbad,neg\n",
        "dev.csv": "text,review,label,category\nno,so so,wrong,neg\n",
        "test.csv": "label,category,review,review2,sentence1,sentence2\n,pos,nice,no,no,no\n",
    }
    dataset = read(files)
    assert dataset.validation == Split(["so so"], [("neg",)])
    assert dataset.test == Split(["nice"], [("pos",)])
    assert read_test(DataConfig(data=str(tmp_path)))[0] == dataset.test


def test_texts_without_labels_are_read_from_the_columns_of_train(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("review\na\nb\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,review\nno,c\n", encoding="utf-8")
    assert read_test(DataConfig(data=str(tmp_path)))[0].texts == ["c"]


def test_minus_one_is_withheld_only_where_train_has_no_such_class(read: Read) -> None:
    rows = "".join(f"text {number},{number % 3 - 1}\n" for number in range(60))
    with_class = read({"train.csv": f"text,label\n{rows}", "test.csv": "text,label\nbad,-1\nworse,-1\n"})
    assert with_class.test == Split(["bad", "worse"], [("-1",), ("-1",)])
    otherwise = read({"train.csv": f"text,label\n{rows}", "test.csv": "text,label\nbad,-1.0\nworse,-1.0\n"})
    assert otherwise.test.texts == ["bad", "worse"]
    without = read({"train.csv": f"text,label\n{rows.replace(',-1', ',2')}"})
    assert (without.labels, len(without.test)) == (("0", "1", "2"), 6)
    assert set(without.test.texts) < {f"text {number}" for number in range(60)}


def test_a_clone_of_the_hub_is_read(read: Read, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    clone: dict[str, str | bytes] = {
        "README.md": "---\n",
        "data/train-00000-of-00001.csv": TRAIN,
        "data/validation-00000-of-00001.csv": DEV,
        "data/test-00000-of-00001.csv": TEST,
        "data/corpus.csv": "",
    }
    dataset = read(clone)
    assert (dataset.train.texts, dataset.test.texts) == (["fine", "bad", "good"], ["nice"])
    assert dataset.source is not None
    assert dataset.source.unused == ["corpus.csv"]
    assert read({"train.csv": TEST + "x,neg\n", "dev.csv": DEV, "test.csv": DEV}).train.texts == ["nice", "x"]


def test_labelled_test_data_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in FOLDER.items():
        (tmp_path / name).write_bytes(str(content).encode())
    parsed = []

    def noted(file: Path, encoding: str | None) -> Table:
        parsed.append(file.name)
        return read_table(file, encoding)

    monkeypatch.setattr(sources, "read_table", noted)
    read_test(DataConfig(data=str(tmp_path)))
    assert sorted(parsed) == ["dev.csv", "test.csv", "train.csv"]


def test_lists_of_labels_make_the_task_multi_label(read: Read) -> None:
    rows = jsonl({"text": "a", "labels": ["joy", "anger"]}, {"text": "b", "labels": []}, {"text": "c", "labels": [1]})
    same = 'text,labels\na,"[""joy"", ""anger"", ""joy""]"\nb,[]\nc,[1]\n'
    dataset = read({"train.jsonl": rows, "dev.csv": same, "test.csv": same})
    assert dataset.task == "multi_label"
    assert dataset.train.labels == dataset.validation.labels == [("anger", "joy"), (), ("1",)]


def test_targets_are_in_the_order_of_the_labels_given() -> None:
    single = Split(["a", "b"], [("x",), ("y",)])
    assert single.targets(["y", "x"], "single_label").tolist() == [1, 0]
    assert single.targets(["y", "x"], "pair_single_label").dtype == np.int64
    several = Split(["a", "b"], [("x", "z"), ()]).targets(["z", "y", "x"], "multi_label")
    assert several.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert several.dtype == np.float32
    with pytest.raises(CompressError, match='label "y", which is not among x, z'):
        single.targets(["x", "z"], "single_label")


def test_the_digest_changes_with_any_part_of_the_data(read: Read) -> None:
    base = read(FOLDER).digest
    assert read(FOLDER).digest == base
    for name, old, new in [("train.csv", "fine", "fin"), ("dev.csv", "neg", "pos"), ("test.csv", "nice", "nicer")]:
        assert read({**FOLDER, name: str(FOLDER[name]).replace(old, new)}).digest != base
        read(FOLDER)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train.csv": "words,label\na,b\n"},
            "train.csv: no column has a usual name for the text; name it with --text",
        ),
        (
            {"train.csv": "text,kind\na,b\n"},
            "train.csv: no column has a usual name for the label; name it with --label",
        ),
        ({"train.csv": "text,label\na,x\nb,x\n"}, 'train.csv: the only label is "x";'),
        ({"train.csv": "text,label\na,x\nb,\n"}, "train.csv, line 3: the label is missing;"),
        ({"test.csv": "text,label\na,pos\nb,new\n"}, 'test.csv, line 3: the label "new" is not in the train split'),
        ({"dev.csv": "text,label\na,new\n"}, 'dev.csv, line 2: the label "new" is not in the train split'),
        (
            {"dev.csv": "sentence1,sentence2,label\na,b,pos\n"},
            "dev.csv, line 2: a pair of texts, unlike the first train row;",
        ),
        (
            {"dev.csv": 'text,label\na,"[""x"", ""y""]"\n'},
            "dev.csv, line 2: a list of labels where other rows have one label;",
        ),
        (
            {"train.jsonl": '{"text": "a", "label": "x"}\n{"text": null, "label": "y"}'},
            "train.jsonl, line 2: the text is missing",
        ),
        ({"train.jsonl": '{"text": "a", "label": "x"}\n{"label": "y"}'}, "train.jsonl, line 2: the text is missing"),
        (
            {"train.jsonl": '{"text": "a", "label": "x"}\n{"text": 5, "label": "y"}'},
            "train.jsonl, line 2: the text is 5,",
        ),
        ({"train.jsonl": '{"text": "a", "label": "x"}\n{"text": "b"}'}, "train.jsonl, line 2: the label is missing;"),
        ({"train.jsonl": '{"text": "a", "label": 0.5}'}, "train.jsonl, line 1: the label is 0.5;"),
        ({"train.jsonl": '{"text": "a", "label": NaN}'}, "train.jsonl, line 1: the label is nan;"),
        ({"train.jsonl": '{"text": "\\ud83d", "label": 1}'}, "train.jsonl, line 1: half of a surrogate pair"),
        (
            {"train.jsonl": '{"text": "a", "label": "x"}\n{"text": "b", "label": ["x"]}'},
            "train.jsonl, line 2: a list of labels",
        ),
        (
            {"train.jsonl": '{"text": "a", "label": ["x"]}\n{"text": "b", "label": [null]}'},
            "train.jsonl, line 2: the label is",
        ),
        (
            {"train.jsonl": '{"text": "a", "label": ["x"]}\n{"text": "b", "label": []}'},
            'train.jsonl: the only label is "x";',
        ),
        ({"train.jsonl": '{"text": "a", "label": []}'}, "train.jsonl: no row has a label;"),
        (
            {"train.csv": "text,label\na,['x']\nb,\"['x', 'y']\"\n"},
            "train.csv, line 2: ['x'] is not a JSON list of labels;",
        ),
    ],
)
def test_bad_rows_are_refused_with_their_place(refusal: Refusal, files: dict[str, str | bytes], message: str) -> None:
    rest = {name: text for name, text in FOLDER.items() if not ("train.jsonl" in files and name == "train.csv")}
    assert refusal({**rest, **files}).startswith(message)


def test_a_missing_column_is_answered_with_those_that_are_there(refusal: Refusal) -> None:
    assert refusal(FOLDER, text=["body"]) == 'train.csv: no column "body"; give --text one of "text", "label"'
    assert refusal(FOLDER, label="kind") == 'train.csv: no column "kind"; give --label one of "text", "label"'
    headless = "a sentence that goes on and on and on and on\tpos\nbad\tneg\n"
    assert '"a sentence that goes on and on and on a…", "pos"' in refusal({"train.tsv": headless}, "train.tsv")


def test_a_missing_source_is_not_looked_up_on_the_hub(refusal: Refusal) -> None:
    assert refusal({}, "absent.csv").startswith("absent.csv: no such file or folder;")
    assert refusal({}, "absent/").startswith("absent: no such file or folder;")
    with pytest.raises(CompressError, match=r"^absent\.csv: no such file or folder;"):
        read_dataset(DataConfig(data="absent.csv"))
    assert refusal(FOLDER, test="absent.csv").startswith("absent.csv: No such file or directory;")


def test_a_folder_without_train_says_what_it_has(refusal: Refusal) -> None:
    message = refusal({"questions.csv": TRAIN, "notes.md": "", ".train.csv": TRAIN})
    assert "no train split; it has notes.md, questions.csv; name the files train, validation and test" in message


@pytest.mark.parametrize("name", ["config.json", "compress.json"])
def test_a_models_folder_is_told_from_data(refusal: Refusal, name: str) -> None:
    assert refusal({name: "{}", "vocab.txt": "a"}).endswith(
        "model's folder, not data; the model comes first, --data names texts"
    )
    assert refusal(FOLDER | {name: "{}"}, test="absent.csv").startswith("absent.csv")


def test_a_test_file_without_a_label_column_is_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,length\na,1\nb,1\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,length\nc,1\nd,1\n", encoding="utf-8")
    test, task = read_test(DataConfig(data=str(tmp_path)))
    assert (test.texts, test.labels, task) == (["c", "d"], [], "single_label")


def test_one_file_without_a_label_column_is_all_test(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("sentence1,sentence2\na,b\nc,d\n", encoding="utf-8")
    test, task = read_test(DataConfig(data=str(file)))
    assert (test.texts, test.labels, task) == ([("a", "b"), ("c", "d")], [], "pair_single_label")


def test_a_test_file_with_labels_is_read_as_ever(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\ne,x\nf,y\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label\nc,x\n", encoding="utf-8")
    config = DataConfig(data=str(tmp_path))
    assert read_test(config) == (read_dataset(config).test, "single_label")
    with pytest.raises(CompressError, match=r'no column "lable"'):
        read_test(DataConfig(data=str(tmp_path), label=["lable"]))


def test_the_same_texts_are_test_with_a_validation_file_and_without(read: Read, tmp_path: Path) -> None:
    """Else a model that was trained with one would be benched on what it was trained on."""
    rows = "".join(f"text {number},{'pos' if number % 2 else 'neg'}\n" for number in range(200))
    alone = read({"all.csv": f"text,label\n{rows}"}, data="all.csv")
    with_file = read({"val.csv": DEV}, data="all.csv", validation=str(tmp_path / "val.csv"))
    assert with_file.validation.texts == ["so so"]
    assert with_file.test == alone.test
    assert sorted(with_file.train.texts) == sorted(alone.train.texts + alone.validation.texts)
    assert set(with_file.train.texts).isdisjoint(with_file.test.texts)


def test_a_test_file_without_labels_is_left_out_of_a_training_and_said(
    read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{number}\ttext {number}\t{number % 2}\n" for number in range(40))
    dataset = read(
        {
            "train.tsv": f"index\tsentence\tlabel\n{rows}",
            "dev.tsv": "index\tsentence\tlabel\n0\tso so\t1\n",
            "test.tsv": "index\tsentence\n0\tnot labelled\n",
        }
    )
    assert len(dataset.test) == 4
    assert set(dataset.test.texts) <= {f"text {number}" for number in range(40)}
    assert "test.tsv has no labels, so it is left out" in capsys.readouterr().err


def test_a_label_column_that_is_nowhere_is_no_reason_to_drop_the_test_file(
    refusal: Refusal, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 'no column "lable"; give --label one of "text", "label"' in refusal(FOLDER, label="lable")
    assert "left out" not in capsys.readouterr().err


def test_a_parquet_column_that_nobody_needs_may_be_unreadable(read: Read, tmp_path: Path) -> None:
    far = pyarrow.array([10**18, 10**18], pyarrow.timestamp("us"))  # after the year 9999
    table = pyarrow.table({"text": ["a", "b"], "label": ["x", "y"], "seen": far})
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    dataset = read(
        {"dev.csv": "text,label\nc,x\n", "test.csv": "text,label\nd,y\n"}, train=str(tmp_path / "train.parquet")
    )
    assert dataset.train.texts == ["a", "b"]
