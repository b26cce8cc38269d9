"""The comparison with other tools, with peers that need no environment: same texts for all, failures are told."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import compress
from benchmarks import all as every
from benchmarks import catalogue, scaling
from benchmarks.kept import RESULTS, read_lines
from benchmarks.peers import __main__ as program
from benchmarks.peers import processes, table
from benchmarks.peers.registry import PEERS, Peer
from tests.tiny import STORED_RUN, read, write_rows

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_comparison_goes_on_where_it_stopped(
    tiny_torch: Path, tiny_int8: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = Peer("PyTorch fp32", "eager", None, "as it is")
    broken = Peer("broken", "stock", None, "cannot be made")
    monkeypatch.setattr(program, "PEERS", (eager, broken))
    make = processes.make

    def refuse(peer: Peer, *given: Any) -> None:
        if peer is broken:
            raise processes.PeerFailedError("no such kernel")
        make(peer, *given)

    monkeypatch.setattr(processes, "make", refuse)
    out, work = tmp_path / "peers.json", tmp_path / "work"
    asked = [str(tiny_torch), str(tiny_data), "--ours", str(tiny_int8), "--work", str(work), "--threads", "1"]
    monkeypatch.setattr("sys.argv", ["peers", *asked, "--rounds", "1", "--texts", "20", "--out", str(out)])
    program.main()
    results = json.loads(out.read_text(encoding="utf-8"))
    ours, theirs, failed = results["peers"]
    texts = [str(text) for text in read(tiny_data).test.texts][:20]
    expected = [one.label for one in compress.load(tiny_int8, threads=1)(texts)]
    (turn,) = read_lines(work / "compress-int8" / "turns.jsonl")
    assert turn["labels"] == expected
    assert failed["failed"] == "no such kernel"
    assert theirs["points"] == 0
    for row in (ours, theirs):
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        (own,) = read_lines(work / row["name"].replace(" ", "-") / "turns.jsonl")
        assert row["times_ours"] == row["p50_ms"] / own["reference_ms"]
        assert row["size_bytes"] > 100_000
        assert row["peak_bytes"] > 20e6
        assert row["cold_start_s"] > 0
    assert "- Failed with our script: broken: no such kernel" in table.table(results)
    monkeypatch.setattr(processes, "answer", pytest.fail)  # all turns are kept: no process starts
    program.main()
    assert json.loads(out.read_text(encoding="utf-8"))["peers"] == results["peers"]


def test_a_peer_that_ours_does_not_cover_is_named() -> None:
    def row(name: str, points: float, ms: float) -> dict[str, Any]:
        return {"name": name, "points": points, "accuracy": 0.9 + points / 100, "p50_ms": ms}

    ours = row("compress int8", -0.5, 1.0)
    assert "No peer is on or beyond" in table.verdict([ours, row("slower", -0.5, 1.2), row("worse", -2.5, 0.1)])
    assert "Beyond our front up to 2 points lost: quicker (-1.5" in table.verdict([row("quicker", -1.5, 0.5), ours])
    found = table.verdict([ours, row("better", 0.0, 3.0)])
    assert "slower: better" in found
    assert "fastest peer is better: 3.0 times" in found
    assert "The one model of ours measured here loses 1.5 points" in table.verdict(
        [row("compress int8", -1.5, 1.0), row("far", -1.2, 3.0)]
    )


def test_exponents_are_slopes_of_logarithms() -> None:
    fit = scaling.power_law([1, 10, 100], [3, 300, 30_000])
    assert fit is not None
    assert fit == pytest.approx((2, 3))
    assert scaling.power_law([5], [1]) is None


def test_scaling_in_miniature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "SERVED_TEXTS", 100)
    monkeypatch.setattr(scaling, "NEURONS_A_HEAD", 8)
    dataset = read(STORED_RUN / "data")
    results: dict[str, Any] = {
        "machine": {"threads": [1]},
        "distillation": scaling.distillation(STORED_RUN / "teacher", dataset, (16, 32, 500), 1, 60),
        "search": scaling.searching((2, 4), (4,)),
        "serving": scaling.serving(STORED_RUN / "int8", [str(text) for text in dataset.test.texts], 1),
    }
    assert [(row["texts"], row["cached"]) for row in results["distillation"]] == [
        (16, False), (16, True), (32, False), (32, True),
    ]  # fmt: skip
    assert scaling.table(results).count("\n| ") == 7
    assert "A billion texts, estimated" in scaling.table(results)
    assert scaling.plot(results).startswith("<svg")


def test_every_kept_result_is_in_the_catalogue() -> None:
    kept = {path for benchmark in catalogue.BENCHMARKS for path in catalogue.kept_files(benchmark)}
    assert {path for path in RESULTS.rglob("*") if path.is_file()} == kept


def test_every_command_exists_with_arguments_that_are_there_and_belong_together() -> None:
    made: set[str] = set()  # what of runs/ earlier commands leave where `make bench` runs them
    for benchmark in catalogue.BENCHMARKS:
        for part in f"{benchmark.command} && {benchmark.quick or benchmark.command}".split(" && "):
            of_ours = part.startswith("python -m")
            module = ROOT.joinpath(*part.split()[2].split(".")) if of_ours else ROOT / "compress"
            assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), part
            assert not any(re.fullmatch("[A-Z][A-Z0-9_]+", word) for word in shlex.split(part)), (
                f"a placeholder: {part}"
            )
            assert len(set(re.findall(r"\b(demo|sst2|banking77|mrpc|goemotions)\b", part))) <= 1, (
                f"two data sets: {part}"
            )
            assert all((ROOT / place).exists() for place in re.findall(r"\bmodels/\S+", part)), part
            used = set(re.findall(r"\bruns/(\w+)", part))
            if not benchmark.elsewhere:
                made.add(module.name if of_ours else part.rpartition("/")[2])
                assert used <= made, f"nothing before it makes runs/{used - made}: {part}"
        assert not (benchmark.printed and "*" in str(benchmark.keeps)), (
            f"printed, but kept in files: {benchmark.command}"
        )
    assert {"latency_table", "peers", "scaling"} <= {every.name_of(command) for _, command in every.chosen(quick=True)}


def test_a_teacher_of_other_labels_is_refused_before_anything_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scaling, "serving", pytest.fail)
    rows: list[dict[str, object]] = [
        {"text": f"a {topic} {number}", "label": topic} for number in range(20) for topic in ("film", "match")
    ]
    write_rows(tmp_path / "train.jsonl", rows)
    monkeypatch.setattr(
        "sys.argv", ["scaling", *map(str, (STORED_RUN / "teacher", STORED_RUN / "int8", "--data", tmp_path))]
    )
    with pytest.raises(SystemExit):
        scaling.main()
    assert f"{tmp_path}: has other labels than {STORED_RUN / 'teacher'}" in capsys.readouterr().err


def test_every_peer_has_a_file_that_makes_and_loads() -> None:
    for peer in PEERS:
        module = import_module(f"benchmarks.peers.contenders.{peer.module}")
        assert callable(module.make)
        assert callable(module.load)
