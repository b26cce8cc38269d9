"""The GPU's command, in miniature on a CPU: every branch that needs no CUDA."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import runner
from benchmarks.gpu.__main__ import earlier_parts
from benchmarks.gpu.arithmetic import Rates, known_rates, least_ms, work_of
from benchmarks.gpu.material import fixed_batch, make_all, make_model, make_tokenizer, ragged_batch
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.runner import read_rows, run_parts
from benchmarks.gpu.serving import Emit
from benchmarks.gpu.setting import STUDENT, TEACHER, Setting, full, miniature, sst2_lengths
from benchmarks.gpu.table import goals, table
from benchmarks.gpu.ways import Padded, Unpadded, load_model
from benchmarks.gpu.wheels import LEFT_OUT, command
from tests.processes import PRELOADED

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
FIGURES = (
    "make",
    "rates",
    f"serve {TEACHER}",
    f"serve {STUDENT}",
    f"unpadded {STUDENT}",
    "logits",
    "onnxruntime",
)  # parts whose rows are all figures


def check_that_every_way_and_load_got_its_figures(measured: Document) -> None:
    for name in FIGURES:
        rows = measured["parts"][name]["rows"]
        assert rows, name
        assert [row for row in rows if "reason" in row] == [], name
    ways = {row["way"] for row in measured["parts"][f"serve {STUDENT}"]["rows"]}
    assert ways == {"eager fp32", "eager bf16", "compiled fp32"}
    ways = {row["way"] for row in measured["parts"][f"unpadded {STUDENT}"]["rows"]}
    assert {"eager bf16", "unpadded nested bf16", "unpadded grouped bf16", "unpadded flex bf16"} < ways


def check_that_half_precision_and_unpadded_attention_answered_as_fp32_did(measured: Document) -> None:
    for row in measured["parts"]["logits"]["rows"]:
        limit = 0.1 if "bf16" in row["way"] else 1e-3
        assert row["off_by"] <= limit * max(row["spread"], 1.0), row


def check_that_the_table_and_the_goals_come_from_the_results(measured: Document) -> None:
    shown = table(measured)
    for name in (TEACHER, STUDENT):
        assert f"| {name} | eager fp32 |" in shown
    assert f"| {STUDENT} | unpadded nested bf16 |" in shown
    assert all(goal["found"] > 0 for goal in goals(measured))


def test_goals_without_their_parts_are_not_measured() -> None:
    document: Document = {"parts": {"make": {"status": "cut off", "rows": []}}}
    assert [goal["found"] for goal in goals(document)] == [None, None, None]
    assert "not measured" in table(document)


def test_a_ratio_of_parts_from_two_runs_says_so() -> None:
    row = {"load": "sst2 x 1", "batch": 1, "whole_texts_per_s": 1.0}
    parts: Document = {
        f"serve {TEACHER}": {"rows": [row | {"model": TEACHER, "way": "eager fp32", "whole_ms": 4.0}]},
        f"serve {STUDENT}": {"rows": [row | {"model": STUDENT, "way": "graphs fp16", "whole_ms": 0.5}]},
    }
    assert "8.00x (goal 15x)" in table({"parts": parts})
    parts[f"serve {TEACHER}"]["created"] = "2026-11-27"
    assert "8.00x of two runs (goal 15x)" in table({"parts": parts})


def test_work_counts_padding_only_where_it_is_computed(tmp_path: Path) -> None:
    shape = miniature(tmp_path).shapes[STUDENT]
    make_model(shape, make_tokenizer(tmp_path / "tokenizer", shape.vocabulary), tmp_path / STUDENT)
    model = load_model(tmp_path / STUDENT)
    half_padding = [ragged_batch([16, 8, 4, 4], 1000)]
    padded = work_of(model, Padded("fp16"), half_padding)
    packed = work_of(model, Unpadded("fp16", "grouped", first_token_only=False), half_padding)
    first = work_of(model, Unpadded("fp16", "grouped"), half_padding)
    assert 0.4 < packed["flops"] / padded["flops"] < 0.5  # 32 of 64 tokens, and less than half of the attention
    assert first["flops"] < packed["flops"]
    assert first["bytes"] < packed["bytes"] < padded["bytes"]
    assert work_of(model, Padded("fp32"), [fixed_batch(4, 16, 1000)])["bytes"] == 2 * padded["bytes"]


def test_the_least_time_is_that_of_arithmetic_or_memory_whichever_is_longer() -> None:
    row = {"precision": "fp16", "flops": 2e12, "bytes": 1e9}
    assert least_ms(row, {"fp16": 100.0, "memory": 1.0}) == pytest.approx(20.0)
    assert least_ms(row | {"bytes": 1e12}, {"fp16": 100.0, "memory": 1.0}) == pytest.approx(1000.0)
    assert least_ms(row, {"fp16": 100.0, "memory": None}) is None
    assert known_rates("a card of next year") == Rates()


def test_lengths_are_those_of_the_test_sentences(shared_data: Path) -> None:
    from tokenizers import Tokenizer

    from compress.demo_assets import MINILM, model_source

    tokenizer = Tokenizer.from_file(str(Path(model_source(MINILM), "tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = Path(shared_data, "sst2", "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    true = [len(each.ids) for each in tokenizer.encode_batch([line.rpartition("\t")[0] for line in lines])]
    assert sorted(sst2_lengths(len(true), 512)) == sorted(true)


def test_the_whole_set_is_what_the_results_are_named_after() -> None:
    setting = full(Path("nowhere"))
    assert (min(setting.batches), max(setting.batches), setting.lengths) == (1, 1024, (32, 128))
    shapes = {name: (shape.hidden, len(shape.heads)) for name, shape in setting.shapes.items()}
    assert shapes == {"minilm-l6": (384, 6), "student-3": (384, 3), "pruned-3": (384, 3), "bert-base": (768, 12)}


def good(_: Setting, emit: Emit, seconds: float) -> None:
    sys.stdout.write("what libraries print is not a row\n")
    emit({"seconds": seconds})


def raises(_: Setting, emit: Emit, __: float) -> None:
    emit({"before": "it failed"})
    raise ValueError("no such kernel\nand more")


def dies(_: Setting, __: Emit, ___: float) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hangs(_: Setting, emit: Emit, __: float) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    emit({"child": child.pid})
    time.sleep(600)


def test_a_part_that_fails_or_hangs_is_recorded_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, dict[str, Any]] = {}
    shares = {"good": 100, "raises": 100, "dies": 100, "hangs": 0.001, "after": 100}
    runs = {"good": good, "raises": raises, "dies": dies, "hangs": hangs, "after": good}
    monkeypatch.setattr(runner, "_GRACE_S", 4.0)
    monkeypatch.setattr(runner, "_PRELOADED", PRELOADED)  # a process has one server to fork from, whoever starts it
    parts = [Part(name, share, runs[name]) for name, share in shares.items()]
    run_parts(parts, miniature(tmp_path), 600.0, lambda name, outcome: told.update({name: outcome}))
    assert list(told) == list(shares)
    assert told["good"]["rows"] == [{"seconds": pytest.approx(150.0, rel=0.01)}]
    assert (told["raises"]["status"], told["raises"]["reason"]) == ("failed", "ValueError: no such kernel")
    assert told["raises"]["rows"] == [{"before": "it failed"}]
    assert told["dies"]["status"] == "failed"
    assert told["hangs"]["status"] == "cut off"
    child = told["hangs"]["rows"][0]["child"]
    assert not Path(f"/proc/{child}/stat").exists() or " Z " in Path(f"/proc/{child}/stat").read_text(encoding="utf-8")
    assert told["after"]["status"] == "done"
    run_parts(parts, miniature(tmp_path), 0.0, lambda name, outcome: told.update({name: outcome}))
    assert {outcome["status"] for outcome in told.values()} == {"left out"}


def test_a_line_that_was_cut_off_is_no_row(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n{"b": ', encoding="utf-8")
    assert read_rows(file) == [{"a": 1}]


def test_wheels_are_those_of_the_other_machine() -> None:
    told = command(Path("wheels"), "3.12")
    assert {"--no-deps", "--only-binary=:all:", "--python-version=3.12", "--platform=manylinux_2_28_x86_64"} < set(told)
    assert any(each.startswith("pydantic-core==") for each in told)


BLOCKED = [*(name.removesuffix("-python").replace("-", "_") for name in LEFT_OUT), "sklearn", "pyarrow"]
HERE = {"bench", "prune, batch 64"}  # parts that start processes of their own: run where these find PyTorch imported


@pytest.mark.slow
def test_the_command_does_without_what_is_left_out(tmp_path: Path) -> None:
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
    (tmp_path / "sitecustomize.py").write_text(blocked, encoding="utf-8")
    out = tmp_path / "gpu.json"
    names = [part.name for part in PARTS if part.name not in HERE]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", str(out), "--minutes", "12", "--parts", *names],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        check=True,
        timeout=800,
    )
    document = json.loads(out.read_text(encoding="utf-8"))
    outcomes = {name: (part["status"], part.get("reason")) for name, part in document["parts"].items()}
    assert outcomes == dict.fromkeys(names, ("done", None))
    assert document["parts"]["distill"]["rows"][0]["texts_per_s"]
    check_that_a_plan_is_compared_with_its_time(document["parts"]["prune, batch 1"]["rows"])
    check_that_every_way_and_load_got_its_figures(document)
    check_that_half_precision_and_unpadded_attention_answered_as_fp32_did(document)
    check_that_the_table_and_the_goals_come_from_the_results(document)


@pytest.mark.usefixtures("forked_workers", "timed_here")
def test_the_other_parts_do_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = miniature(tmp_path)
    make_all(setting)
    for module in BLOCKED:
        monkeypatch.setitem(sys.modules, module, None)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in HERE}
    for part in PARTS:
        if part.name in HERE:
            part(setting, rows[part.name].append, 1.0)
    differences = [row["difference"] for row in rows["bench"] if "load" in row]
    assert len(differences) == 6  # two backends, each one text at a time, and two shapes
    assert np.isfinite(differences).all()
    check_that_a_plan_is_compared_with_its_time(rows["prune, batch 64"])


def check_that_a_plan_is_compared_with_its_time(rows: list[dict[str, Any]]) -> None:
    assert {"prediction_off_by", "turns_to_depth"} < set(rows[0])


def test_parts_measured_again_stand_beside_those_of_the_run_before(tmp_path: Path) -> None:
    results = tmp_path / "gpu.json"
    assert earlier_parts(results, "H100") == {}
    parts = {"rates": {"status": "done", "rows": [1]}}
    results.write_text(json.dumps({"created": "2026-11-27", "machine": {"gpu": "H100"}, "parts": parts}))
    assert earlier_parts(results, "H100") == {"rates": {"created": "2026-11-27"} | parts["rates"]}
    with pytest.raises(SystemExit, match="is of another card, H100, not H200; give another --out"):
        earlier_parts(results, "H200")
