"""The load test in miniature: it counts what is right, and sees what is wrong."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

import pytest

import compress
from benchmarks import serving
from compress.errors import CompressError
from tests.serving import service
from tests.tiny import read, write_rows


def test_all_answers_are_found_right(
    tiny_int8: Path,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = read(tiny_data).train.texts
    write_rows(tmp_path / "texts.jsonl", [{"label": "positive", "text": text} for text in texts])
    arguments = [str(tiny_int8), str(tmp_path / "texts.jsonl"), "--requests", "100", "--texts-each", "3"]
    arguments += ["--out", str(tmp_path / "kept.json")]
    monkeypatch.setattr(sys, "argv", ["serving", *arguments, "--bulk-seconds", "0.1"])
    assert serving.main() == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["wrong"], found["missing"]) == (0, 0)
    assert found["half"]["statuses"] == {"200": 100}
    assert 0 < found["half"]["p50_ms"] <= found["half"]["p99_ms"] <= found["half"]["max_ms"]
    assert found["capacity_texts_per_s"] > 0 < found["bulk_texts_per_s"]
    document = json.loads((tmp_path / "kept.json").read_text())
    assert found["different_answers"] <= len(set(texts))  # of the texts, not of the file's lines
    assert document["texts"] == hashlib.sha256((tmp_path / "texts.jsonl").read_bytes()).hexdigest()
    shown = serving.table(document)
    assert "as another text's answer would be | 0 | 0 |" in shown


@pytest.mark.parametrize("found", [{"wrong": 1, "missing": 0}, {"wrong": 0, "missing": 1}], ids=str)
def test_a_wrong_or_missing_answer_is_the_exit_status(
    found: dict[str, int], tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "texts.jsonl", [{"text": "a good film"}])
    monkeypatch.setattr(serving, "measure", lambda *_: found)
    monkeypatch.setattr(serving, "keep", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["serving", str(tiny_int8), str(tmp_path / "texts.jsonl")])
    assert serving.main() == 1


def test_a_service_that_does_not_start_says_why(
    tiny_int8: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "texts.jsonl", [{"text": "a good film"}])
    arguments = [str(tiny_int8), str(tmp_path / "texts.jsonl"), "--threads", "-1", "--bulk-seconds", "0.1"]
    monkeypatch.setattr(sys, "argv", ["serving", *arguments])
    with pytest.raises(CompressError, match=r"the service did not start: .*threads"):
        serving.main()


@pytest.mark.parametrize(("by", "seen"), [(0.0, (0, 0)), (0.001, (0, 20)), (0.1, (20, 0))])
def test_wrong_and_moved_answers_are_seen(by: float, seen: tuple[int, int], tiny_int8: Path) -> None:
    texts = ["a good film", "a dull mess"]
    answers = compress.load(tiny_int8, threads=1)(texts)
    expected = [[{name: score + by for name, score in answer.scores.items()}] for answer in answers]
    bodies = [json.dumps({"texts": [text]}).encode() for text in texts]
    with service.serving(tiny_int8) as served:
        load = serving.Load("127.0.0.1", served.port, bodies, expected)
        asyncio.run(load.all_the_time(20, clients=4))
    assert (load.statuses, (load.wrong, load.moved)) == ({200: 20}, seen)
