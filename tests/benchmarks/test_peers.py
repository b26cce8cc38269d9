"""What is measured against peers is the same work: the same texts, the same answers."""

import json
import sys
from io import StringIO
from pathlib import Path

import pytest

import compress
from benchmarks import throughput_worker
from benchmarks.cold_start import TEXT, Run, figures, run
from benchmarks.throughput_peers import OURS, PLAIN, mixed_texts, turn
from tests.tiny import read


def test_every_contender_answers_every_text(
    tiny_int8: Path, tiny_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [str(text) for text in read(tiny_data).test.texts]
    expected = [answer.label for answer in compress.load(tiny_int8, threads=1)(texts)]
    assert len(set(expected)) == 2
    for name in (OURS[0], PLAIN[0]):
        seconds, found = turn(name, str(tiny_int8), 2, texts)
        assert seconds > 0
        assert found == expected
    for name in (*OURS, *PLAIN):  # what runs in such a process
        monkeypatch.setattr(sys, "argv", ["worker", name, str(tiny_int8), "2"])
        monkeypatch.setattr(sys, "stdin", StringIO(json.dumps(texts) + "\ngo\n"))
        throughput_worker.main()
        ready, told = capsys.readouterr().out.splitlines()
        found = json.loads(told)
        assert (ready, len(found)) == ("ready", len(texts))
        if name in {"compress.load", "compress.load, instances", "plain onnxruntime, batch 1"}:
            assert found == expected  # in larger batches of int8, what shares one shifts a text's scores
        elif name != "our tokenizer alone":
            assert sum(one == other for one, other in zip(found, expected, strict=True)) > 0.9 * len(texts)


@pytest.mark.shared
def test_the_mixed_texts_are_the_same_each_time(shared_data: Path) -> None:
    texts = mixed_texts(shared_data)
    assert len(texts) == 10_000
    assert texts == mixed_texts(shared_data)
    lengths = sorted(map(len, texts))
    assert lengths[500] < 30
    assert lengths[-500] > 1000


def test_the_first_answer_is_timed_in_a_process_of_its_own(tiny_int8: Path) -> None:
    found = run("compress", str(tiny_int8))
    assert found.label == compress.load(tiny_int8, threads=1)(TEXT).label
    assert found.cpu_seconds > 0
    assert found.seconds > 0
    assert 20e6 < found.peak_bytes < 1e9
    with pytest.raises(SystemExit, match=r"compress on .*none ended with 1"):
        run("compress", str(tiny_int8 / "none"))


def test_ratios_are_ours_over_theirs() -> None:
    found = figures(
        [Run(4.0, 3.0, 400, "a"), Run(2.0, 2.0, 200, "a"), Run(9.0, 5.0, 900, "a")], [Run(1.0, 1.5, 100, "a")]
    )
    assert (found["time_ratio"], found["cpu_ratio"], found["memory_ratio"]) == (0.25, 0.5, 0.25)
