"""A new model is held to an old one: what differs is counted, the limits decide, any kind of classifier is read."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt

import compress
from compress.cli.main import main
from compress.decisions.shown import as_markdown, as_text
from compress.formatting import MINUS
from compress.modeling.checkpoint import save_checkpoint
from tests.tiny import make_bert, make_checkpoint, read

pytestmark = pytest.mark.usefixtures("forked_workers")
LABELS = ("negative", "positive")


@pytest.fixture(scope="module")
def worse(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that has learned nothing, its labels in the other order."""
    folder = tmp_path_factory.mktemp("worse") / "worse"
    folder.mkdir()
    save_checkpoint(make_checkpoint(tiny_encoder, make_bert(), LABELS[::-1]), folder)
    return folder


@pytest.fixture(scope="module")
def compared(worse: Path, tiny_onnx: Path, tiny_data: Path) -> dict[str, Any]:
    """A check's document, with negative flips."""
    return compress.check(worse, tiny_onnx, tiny_data, threads=1, speed=False)


def foreign(onnx_folder: Path, out: Path, labels: tuple[str, ...] = LABELS[::-1]) -> Path:
    """The exported model as another program would have written it, in int32 and with the labels the other way round."""
    out.mkdir()
    model = onnx.load(onnx_folder / "onnx" / "model.onnx")
    model.producer_name = "another"
    graph = model.graph
    graph.output[0].name = "scores"
    order = onnx.numpy_helper.from_array(np.array([1, 0]), "order")
    graph.initializer.append(order)
    graph.node.append(onnx.helper.make_node("Gather", ["logits", "order"], ["scores"], axis=1))
    for value in graph.input:
        wide = f"{value.name}.wide"
        for node in graph.node:
            node.input[:] = [wide if name == value.name else name for name in node.input]
        graph.node.insert(0, onnx.helper.make_node("Cast", [value.name], [wide], to=onnx.TensorProto.INT64))
        value.type.tensor_type.elem_type = onnx.TensorProto.INT32
    onnx.save(model, out / "model.onnx")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(onnx_folder / name, out / name)
    config = json.loads((onnx_folder / "config.json").read_text())
    config |= {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
    (out / "config.json").write_text(json.dumps(config))
    return out


def test_the_same_model_of_another_kind_may_take_its_place(
    tiny_torch: Path,
    tiny_onnx: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another program's file, its labels in another order: matched by name, no answer differs."""
    new = foreign(tiny_onnx, tmp_path / "foreign")
    monkeypatch.setenv("HOME", str(tmp_path))
    files = ("--json=~/check.json", "--markdown=~/check.md")  # which the shell leaves as it is
    for path, speed in ((new / "model.onnx", ["--no-speed"]), (new, ["--seconds", "0.05"])):
        command = ["check", str(path), "--against", str(tiny_torch), "--data", str(tiny_data), "--threads", "1"]
        status = main([*command, *speed, "--max-negative-flips", "0", "--quiet", *files])
        shown = capsys.readouterr().out
        assert status == 0
        assert shown.startswith(f"{path.name} may take the place of {tiny_torch.name}, by 60 test texts\n")
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["format_version"] == 1
    assert found["passed"]
    assert [(check["name"], check["passed"], check["value"]) for check in found["checks"]] == [
        ("drop", True, 0.0),
        ("negative_flips", True, 0.0),
    ]
    assert found["change"]["agreement"] == 1.0
    assert found["change"]["ece_delta"] == pytest.approx(0, abs=1e-4)
    assert found["new"]["parameters"] == pytest.approx(found["old"]["parameters"], rel=0.01)
    assert found["new"]["answer_p50_ms"] > 0
    assert found["change"]["speedup_answer_ci95"]
    assert "| Text to answer |" in (tmp_path / "check.md").read_text()
    for name, mean_ms in (("old", 31.4), ("new", 27.6)):
        found[name] |= {"answer_average": "mean", "answer_mean_ms": mean_ms}  # as where one of them is a cascade
    assert "| Text to answer, mean | 31.4 ms | 27.6 ms |" in as_markdown(found)


def test_a_worse_model_may_not_and_its_negative_flips_are_counted_by_label(
    worse: Path, tiny_onnx: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {"threads": 1, "speed": False}
    found = compress.check(worse, tiny_onnx, tiny_data, max_negative_flips=20, **common)
    test = read(tiny_data).test
    true = np.array([names[0] for names in test.labels])
    with compress.load(tiny_onnx, threads=1) as old:
        was_right = np.array([answer.label for answer in old(test.texts)]) == true
    assert not found["passed"]
    assert [check["passed"] for check in found["checks"]] == [False, False]
    flips = found["flips"]
    assert flips["negative"] - flips["positive"] == was_right.sum() - round(60 * found["new"]["accuracy"]["value"])
    assert [row["label"] for row in flips["by_label"]] == list(LABELS)
    assert sum(row["became_wrong"] for row in flips["by_label"]) == flips["negative"] > 12
    assert found["checks"][1]["value"] == flips["negative"] / 60
    assert found["checks"][0]["value"] == pytest.approx(-found["change"]["accuracy_delta"])
    assert "speedup_answer" not in found["change"]
    for shown in (as_text(found), as_markdown(found)):
        assert f"worse must not take the place of {tiny_onnx.name}" in shown
        assert "Negative flips" in shown
    flipped = next(flip["text"] for flip in flips["texts"] if flip["first"] == flip["right"])
    assert flipped in as_markdown(found)

    command = ["check", str(worse), "--against", str(tiny_onnx), "--data", str(tiny_data), "--no-speed", "--quiet"]
    assert main([*command, "--threads", "1", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["flips"] == json.loads(json.dumps(flips))
    assert main([*command, "--threads", "1", "--max-drop", "100"]) == 0


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("other labels", ("only the new model has bad", "only the old one negative", "id2label")),
        ("several files", ("has several ONNX files", "model.onnx", "other.onnx")),
        ("no config", ("has no config.json beside it", "names its labels")),
        ("no labels", ("config.json has no id2label",)),
        ("too few labels", ("in the shape [1, 2]", "config.json names 3 labels")),
        ("no file", ("no such folder",)),
        ("no ONNX", ("model.onnx: not a whole ONNX file", "Git LFS pointer")),
        ("no place", ("--markdown", "a folder that exists")),
        ("long name", ("--json", "cannot be written (File name too long)")),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    case: str,
    words: tuple[str, ...],
    tiny_onnx: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = {"other labels": ("bad", "positive"), "too few labels": (*LABELS, "neutral")}.get(case, LABELS)
    new = foreign(tiny_onnx, tmp_path / "new", labels)
    if case == "several files":
        shutil.copy(new / "model.onnx", new / "other.onnx")
    if case == "no config":
        (new / "config.json").unlink()
    if case == "no labels":
        (new / "config.json").write_text("{}")
    if case == "no ONNX":
        (new / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    path = new / "absent" if case == "no file" else new
    places = {
        "no place": ("--markdown", str(tmp_path / "absent" / "check.md")),
        "long name": ("--json", str(tmp_path / ("x" * 250))),  # no room for what write_whole puts around it
    }
    old = path if case == "too few labels" else tiny_onnx
    command = ["check", str(path), "--against", str(old), "--data", str(tiny_data), "--no-speed", *places.get(case, ())]
    assert main([*command, "--threads", "1", "--quiet"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("compress: ")
    assert told.err.count("\n") == 1, told.err
    for word in words:
        assert word in told.err


@pytest.mark.parametrize(
    ("name", "value", "limit", "passed", "shown"),
    [
        ("drop", 16 / 3080, 0.005, False, "FAIL  Drop: 0.52 points, at most 0.5"),
        ("drop", 0.00500195, 0.005, False, "FAIL  Drop: 0.5002 points, at most 0.5"),
        ("drop", 0.0058, 0.0058, True, "ok    Drop: 0.58 points, at most 0.58"),
        ("drop", 0.0, 0.0, True, "ok    Drop: 0.0 points, at most 0\n"),
        ("drop", -0.0123, 0.005, True, f"ok    Drop: {MINUS}1.2 points, at most 0.5"),
        ("drop", 0.031, 0.005, False, "FAIL  Drop: 3.1 points, at most 0.5"),
        ("negative_flips", 16 / 3080, 0.005, False, "FAIL  Negative flips: 0.52% of the texts, at most 0.5%"),
        ("negative_flips", 0.1, 0.1, True, "ok    Negative flips: 10.0% of the texts, at most 10%"),
    ],
)
def test_a_value_is_shown_on_its_side_of_the_limit(
    name: str, value: float, limit: float, passed: bool, shown: str, compared: dict[str, Any]
) -> None:
    check = {"name": name, "value": value, "limit": limit, "passed": passed}
    assert shown in as_text(compared | {"checks": [check]})


@pytest.mark.parametrize(
    "text",
    [
        "a|b and a\\|b \\",
        "by @octocat in #12, octo/cat#3",
        "</details> <!-- gone --> <b>bold</b> &lt; &amp;",
        "`code` *stars* **two** [link](http://x) ![picture](http://y)",
    ],
)
def test_a_text_of_the_data_stays_in_its_cell_and_is_only_words(text: str, compared: dict[str, Any]) -> None:
    """As CommonMark with tables reads it; and GitHub finds nobody to tell and nothing to link."""
    flip = {"text": text, "right": ["good|bad"], "first": ["good|bad"], "now": []}
    flips = compared["flips"] | {"texts": [flip]}
    markdown = as_markdown(compared | {"flips": flips})
    tokens = MarkdownIt().enable("table").parse(markdown[markdown.index("\n| Text |") :])
    cells = [token for token in tokens if token.type == "inline"]
    inside = [child for cell in cells for child in cell.children or ()]
    assert {child.type for child in inside} <= {"text", "text_special"}
    shown = ["".join(child.content for child in cell.children or ()).replace("\u200b", "") for cell in cells]
    assert shown == ["Text", "Right", "Now", text.strip(), "good|bad", "no label"]
    assert not re.search(r"@\w|#\d", markdown)
    assert (markdown.count("<details>"), markdown.count("</details>")) == (1, 1)


def test_texts_without_labels_are_refused(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"text": "a film"}\n{"text": "a story"}\n')
    with pytest.raises(compress.errors.CompressError, match="needs test texts with labels"):
        compress.check(tiny_onnx, tiny_onnx, tmp_path / "d.jsonl")
