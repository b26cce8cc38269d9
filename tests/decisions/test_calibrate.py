"""calibrate as a step: the folder carries the decision, every reader honours it, later steps drop it where it ends."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow
import pytest
from pyarrow import parquet

import compress
from compress.bulk.predict import predict_file
from compress.cli.main import main
from compress.folder import read_manifest, write_manifest
from compress.modeling.checkpoint import save_checkpoint
from compress.packaging.card import model_card
from tests.tiny import make_bert, make_checkpoint, read, write_rows

TOPICS = ("film", "story", "tone")


@pytest.fixture(scope="module")
def abstaining(tiny_onnx: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The train texts stand in for a validation split that is large enough."""
    out = tmp_path_factory.mktemp("models") / "abstaining"
    compress.calibrate(tiny_onnx, tiny_data, out, validation=str(tiny_data / "train.jsonl"), max_error=8, threads=1)
    return out


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-label data set whose labels are words of the text."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number in range(120):
        words = rng.choice(["film", "story", "good", "bad", "the", "very"], 5).tolist()
        named = [topic for topic in TOPICS if topic in words] + (["tone"] if "good" in words else [])
        rows.append({"text": f"{' '.join(words)} {number}", "labels": named})
    return write_rows(tmp_path_factory.mktemp("topics") / "d.jsonl", rows)


@pytest.fixture(scope="module")
def thresholded(tiny_encoder: Path, topics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that has learned nothing, given as a PyTorch folder."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "torch").mkdir()
    save_checkpoint(make_checkpoint(tiny_encoder, make_bert(labels=3), TOPICS, "multi_label"), folder / "torch")
    compress.calibrate(folder / "torch", topics, folder / "thresholded", threads=1)
    return folder / "thresholded"


def test_the_folder_carries_the_decision_where_all_clients_look(abstaining: Path) -> None:
    decision = read_manifest(abstaining).decision
    assert decision is not None
    assert json.loads((abstaining / "config.json").read_text())["decision"] == decision
    assert 0 < decision["abstain_below"] < 1
    assert (decision["max_error"], decision["confidence"], decision["texts"]) == (0.08, 0.95, 160)
    card = (abstaining / "README.md").read_text()
    assert f"It abstains where the highest score is below {decision['abstain_below']:.4g}" in card
    assert "logits are divided by" in card
    assert "not calibrated" not in card


def test_scores_follow_the_temperature_and_low_ones_abstain(
    abstaining: Path, tiny_onnx: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [*read(tiny_data).test.texts, "the the", "good bad"]
    entry = read_manifest(abstaining).history[-1]
    least = entry["metrics"]["abstain_below"]
    with compress.load(abstaining, threads=1) as new, compress.load(tiny_onnx, threads=1) as old:
        answers = new(texts)
        assert new.logits(texts) * entry["metrics"]["temperature"] == pytest.approx(old.logits(texts), abs=1e-4)
        assert [answer.label for answer in answers] == [answer.label for answer in old(texts)]
        assert not any(answer.abstained for answer in old(texts))
    assert {answer.abstained for answer in answers} == {True, False}
    for answer in answers:
        assert answer.abstained == (answer.score < least)
        assert answer.labels == (() if answer.abstained else (answer.label,))
    unsure = next(text for text, answer in zip(texts, answers, strict=True) if answer.abstained)
    assert main(["predict", str(abstaining), str(unsure), "--threads", "1"]) == 0
    assert capsys.readouterr().out.startswith("-\t")
    assert main(["predict", str(abstaining), str(unsure), "--threads", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["abstained"]


def test_a_copied_file_says_where_it_abstains(abstaining: Path, tiny_data: Path, tmp_path: Path) -> None:
    texts = [*map(str, read(tiny_data).test.texts), "the the", "good bad"]
    parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "d.parquet")
    (tmp_path / "d.csv").write_text("\n".join(["text", *texts, ""]), encoding="utf-8")
    with compress.load(abstaining, threads=1) as classifier:
        expected = [answer.abstained for answer in classifier(texts)]
        for ending in ("parquet", "csv"):
            done = predict_file(classifier, abstaining, tmp_path / f"d.{ending}", tmp_path / f"o.{ending}")
            assert done.columns == ("label", "score", "abstained")
    assert set(expected) == {True, False}
    assert parquet.read_table(tmp_path / "o.parquet")["abstained"].to_pylist() == expected
    copied = (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.rpartition(",")[2] for line in copied] == [str(value).lower() for value in expected]


def test_labels_apply_from_their_own_threshold_on(thresholded: Path, topics: Path) -> None:
    manifest = read_manifest(thresholded)
    assert manifest.kind == "onnx"
    assert manifest.decision is not None
    thresholds = manifest.decision["thresholds"]
    assert set(thresholds) == set(TOPICS)
    assert set(thresholds.values()) != {0.5}
    texts = read(topics).test.texts
    with compress.load(thresholded, threads=1) as classifier:
        for answer in classifier(texts):
            assert answer.labels == tuple(name for name in TOPICS if answer.scores[name] >= thresholds[name])
            assert not answer.abstained
    assert all(f"`{label}` {least:.3g}" in model_card("x", manifest) for label, least in thresholds.items())


@pytest.mark.usefixtures("forked_workers")
def test_bench_judges_by_the_decision(
    abstaining: Path, thresholded: Path, tiny_onnx: Path, tiny_data: Path, topics: Path, tmp_path: Path
) -> None:
    """Coverage and risk of what is answered; and of several labels, those that the thresholds give."""
    settings: dict[str, Any] = {"seconds": 0.05, "threads": 1}
    compress.bench([tiny_onnx, abstaining], tiny_data, tmp_path / "one", **settings)
    found = json.loads((tmp_path / "one" / "results.json").read_text())["models"]
    assert found[0]["accuracy"]["selection"] is None
    assert found[0]["accuracy"]["risk_coverage"][-1] == [1.0, pytest.approx(1 - found[0]["accuracy"]["value"])]
    selection, test = found[1]["accuracy"]["selection"], read(tiny_data).test
    with compress.load(abstaining, threads=1) as classifier:
        given = [(answer, names) for answer, (names) in zip(classifier(test.texts), test.labels, strict=True)]
    answered = [(answer, names) for answer, names in given if not answer.abstained]
    assert selection["coverage"] == pytest.approx(len(answered) / len(given))
    assert selection["risk"] == pytest.approx(np.mean([answer.labels != names for answer, names in answered]))
    assert selection["coverage_ci95"][0] < selection["coverage"] < selection["coverage_ci95"][1]
    sentence = f"abstaining abstains where the highest score is below {selection['abstain_below']:.4g}: it answers"
    assert sentence in (tmp_path / "one" / "report.md").read_text()
    page = (tmp_path / "one" / "report.html").read_text()
    assert sentence in page
    assert "If only the surest are answered" in page

    compress.bench(thresholded, topics, tmp_path / "several", **settings)
    (entry,) = json.loads((tmp_path / "several" / "results.json").read_text())["models"]
    test = read(topics).test
    with compress.load(thresholded, threads=1) as classifier:
        said = [answer.labels for answer in classifier(test.texts)]
    recalls = {
        topic: np.mean([topic in answer for answer, names in zip(said, test.labels, strict=True) if topic in names])
        for topic in TOPICS
    }
    assert {row["label"]: row["recall"] for row in entry["accuracy"]["recall"]} == pytest.approx(recalls)
    assert "If only the surest" not in (tmp_path / "several" / "report.html").read_text()


def test_other_scores_have_no_use_for_the_decision(
    abstaining: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compress.quantize(abstaining, tiny_data, tmp_path / "int8", threads=1, max_drop=100)
    assert f"leaves out the score below which {abstaining} abstains" in capsys.readouterr().err
    assert read_manifest(tmp_path / "int8").decision is None
    assert "decision" not in json.loads((tmp_path / "int8" / "config.json").read_text())
    compress.calibrate(abstaining, tiny_data, tmp_path / "again", threads=1)
    told = capsys.readouterr().err
    assert "abstains, which holds for its own scores; --max-error chooses a new one" in told
    assert "thresholds" not in told
    assert read_manifest(tmp_path / "again").decision is None


@pytest.mark.parametrize(("kind", "place"), [("tei", "`config.json`"), ("triton", "`classifier/config.json`")])
def test_what_a_server_does_not_do_its_card_leaves_to_clients(
    kind: str, place: str, abstaining: Path, tmp_path: Path
) -> None:
    compress.export(abstaining, tmp_path / "out", for_=kind)
    decision = read_manifest(abstaining).decision
    assert read_manifest(tmp_path / "out").decision == decision  # the same graph: it still holds
    assert json.loads(next((tmp_path / "out").rglob("config.json")).read_text())["decision"] == decision
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- Abstain where the highest score is below" in card
    assert f"does not do so by itself: its clients do; {place} has this (`decision`)" in card
    assert "compress.load" not in card


@pytest.mark.parametrize("model", ["abstaining", "thresholded"])
def test_a_single_file_has_the_decision_in_its_metadata_and_says_that_it_is_for_clients(
    model: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder: Path = request.getfixturevalue(model)
    compress.export(folder, tmp_path / "single", single_file=True)
    about = {entry.key: entry.value for entry in onnx.load(tmp_path / "single" / "model.onnx").metadata_props}
    assert json.loads(about["decision"]) == read_manifest(folder).decision
    card = (tmp_path / "single" / "README.md").read_text()
    assert "does not do so by itself: its clients do, by `scores`; its metadata has this (`decision`)" in card
    assert not any(word in card for word in ("It abstains", "compress.load", "config.json"))


def test_a_precision_and_no_thresholds_to_keep_it_are_refused(
    thresholded: Path, topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["calibrate", str(thresholded), "--data", str(topics), "--out", str(tmp_path / "out")]
    assert main([*command, "--thresholds", "none", "--min-precision", "90"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    assert "a precision of 90% with thresholds of none; leave out one" in told


def test_a_decision_that_fits_no_label_is_a_damaged_folder(thresholded: Path, tmp_path: Path) -> None:
    manifest = read_manifest(thresholded)
    for wrong in (
        {"thresholds": {"film": 0.5}},
        {"abstain_below": "low"},
        {"thresholds": dict.fromkeys(TOPICS, -1)},
        {},
    ):
        with pytest.raises(compress.errors.CompressError, match="thresholds"):
            write_manifest(tmp_path, type(manifest)(**{**vars(manifest), "decision": wrong}))


def test_two_graphs_in_a_folder_are_refused(tiny_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(tiny_onnx, both)
    shutil.copy(both / "onnx" / "model.onnx", both / "onnx" / "model_quantized.onnx")
    write_manifest(both, read_manifest(tiny_onnx))
    with pytest.raises(compress.errors.CompressError, match="has 2 graphs, whose scores differ"):
        compress.calibrate(both, tiny_data, tmp_path / "out", threads=1)
    assert not (tmp_path / "out").exists()
