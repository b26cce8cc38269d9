"""bench as a command: its exit status, and what it leaves."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.benchmark import measure
from compress.benchmark.interrupts import ctrl_c_waits
from compress.benchmark.judge import judge
from compress.cli.main import main
from compress.recipes.recipe import Recipe
from tests.processes import start_interruptible

# As the command, but no time is ever settled, and the report's charts are not drawn, which takes seconds.
NEVER_SETTLED = """
import sys
from types import SimpleNamespace
from compress.benchmark import interleave
from compress.cli.main import main

def never_settled(*_):
    print("timed", flush=True)
    return False

interleave.settled, interleave._ROUNDS_AT_LEAST = never_settled, 2
sys.modules["vl_convert"] = SimpleNamespace(vegalite_to_svg=lambda _: "<svg></svg>")
sys.exit(main(sys.argv[1:]))
"""
QUICK = ("--seconds", "0.2", "--threads", "1", "--quiet")


@pytest.mark.usefixtures("forked_workers")
def test_a_later_model_that_fails_costs_the_status_but_not_the_report(
    tiny_onnx: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "broken", tmp_path / "out"
    shutil.copytree(tiny_onnx, broken)
    (broken / "tokenizer.json").write_text("{}")
    status = main(["bench", str(tiny_onnx), str(broken), "--data", str(tiny_data), "--out", str(out), *QUICK])
    captured = capsys.readouterr()
    assert status == 2
    assert captured.err.startswith(f"compress: {broken}: could not be measured, the other models were (")
    assert captured.err.count("\n") == 1
    assert "Not measured: broken" in captured.out
    assert [model["name"] for model in json.loads((out / "results.json").read_text())["models"]] == [tiny_onnx.name]


@pytest.mark.usefixtures("forked_workers")
def test_a_file_of_texts_alone_is_benched_for_speed(
    tiny_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out"
    texts.write_text("".join(json.dumps({"text": f"a good film {number}"}) + "\n" for number in range(20)))
    assert main(["bench", str(tiny_onnx), "--data", str(texts), "--out", str(out), "--json", *QUICK]) == 0
    printed = json.loads(capsys.readouterr().out)["metrics"]
    assert printed["models"][0]["accuracy"] is None
    assert printed["models"][0]["latency"][0]["p50_ms"] > 0
    assert "samples" not in printed


def test_ctrl_c_leaves_a_report_marked_partial(tiny_onnx: Path, tiny_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ("--seconds", "600", "--threads", "1", "--batch", "2", "--length", "8")  # a second load is not reached
    command = [sys.executable, "-c", NEVER_SETTLED, "bench", *[str(tiny_onnx)] * 2, "--data", str(tiny_data)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with start_interruptible([*command, "--out", str(out), *settings], **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "timed\n"
        assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"{out} has a report of what was measured until then" in errors
    results = json.loads((out / "results.json").read_text())
    assert results["partial"]
    assert [len(model["latency"]) for model in results["models"]] == [1, 1]
    assert "Partial: interrupted" in (out / "report.md").read_text()


@pytest.mark.usefixtures("forked_workers")
def test_ctrl_c_after_the_last_round_waits_for_the_report_and_a_recipe_does_not_make_it_again(
    tiny_onnx: Path, few_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def interrupted(*arguments: Any) -> Any:
        for _ in range(2):  # the second by somebody who cannot wait
            signal.raise_signal(signal.SIGINT)
        return judge(*arguments)

    monkeypatch.setattr(measure, "judge", interrupted)
    step = {"step": "bench", "models": [str(tiny_onnx)], "seconds": 0.01, "threads": [1]}
    recipe = Recipe.parse({"data": {"data": str(few_data)}, "steps": {"report": step}})
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match="has the whole report"):
            compress.run(recipe, out)
        assert capsys.readouterr().err.count("the report is written first") == 1
        assert not json.loads((out / "report" / "results.json").read_text())["partial"]
        assert compress.run(recipe, out) == {}
        with ctrl_c_waits() as came:
            signal.raise_signal(signal.SIGINT)
        assert came.is_set()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
