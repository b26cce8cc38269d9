"""The command line: one line for each mistake, nothing left behind, one JSON document, help for everything."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.cli.main import COMMANDS, main
from compress.decisions import cascade as joining
from compress.decisions.hand_on import HandOn
from compress.folder import MANIFEST, read_manifest, write_manifest
from compress.recipes.recipe import Recipe
from compress.runtime import stream
from compress.steps.spec import STEPS, StepSpec
from compress.steps.step import StepResult
from tests.damage import flip, truncate
from tests.processes import start_module, wait_until
from tests.tiny import STORED_RUN

QUICK = ("--epochs", "1", "--learning-rate", "1e-3", "--precision", "fp32", "--threads", "1")
QUANTIZED = ("--max-drop", "100", "--threads", "1")
ROWS = [
    f"a {word} film number {number},{label}" for label, word in (("neg", "bad"), ("pos", "fun")) for number in range(20)
]
GOOD = "\n".join(["text,label", *ROWS]) + "\n"


@dataclass(frozen=True)
class Shell:
    """Runs commands; ``runs`` is a folder for their output, which every mistake must leave as it was."""

    runs: Path
    capture: pytest.CaptureFixture[str]

    @property
    def out(self) -> Path:
        return self.runs / "out"

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self.capture.readouterr()
        status = main(list(map(str, arguments)))
        return (status, *self.capture.readouterr())

    def refuses(self, *arguments: str | Path, words: tuple[str, ...] = ()) -> str:
        """The one line with which a command is refused; it holds ``words`` and nothing was written."""
        before = self.listing()
        status, stdout, stderr = self(*arguments)
        assert status == 2, stderr
        assert stdout == ""
        stderr = re.sub(r"^(\w+: \d+/\d+, |data: ).*\n", "", stderr, flags=re.MULTILINE)  # work on a slow machine
        assert stderr.startswith("compress: ")
        assert stderr.count("\n") == 1, stderr
        assert stderr.endswith("\n")
        for word in words:
            assert word in stderr
        assert self.listing() == before
        return stderr

    def listing(self) -> dict[str, bytes | None]:
        found = self.runs.rglob("*")
        return {str(path): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    (tmp_path / "runs").mkdir()
    return Shell(tmp_path / "runs", capsys)


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Bad data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["finetune", "distill", "prune", "quantize", "bench"])
def test_a_missing_data_file_is_named(
    command: str, shell: Shell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue("tiny_onnx" if command in {"quantize", "bench"} else "tiny_torch")
    settings = ("--ffn", "0.5") if command == "prune" else ()
    data = tmp_path / "absent.csv"
    shell.refuses(command, model, "--data", data, "--out", shell.out, *settings, words=(str(data), "no such file"))


def test_an_empty_name_is_not_the_folder_that_the_command_runs_in(shell: Shell, tiny_torch: Path) -> None:
    shell.refuses("finetune", tiny_torch, "--data", "", "--out", shell.out, words=("--data '': no file",))
    shell.refuses("check", tiny_torch, "--against", tiny_torch, "--data", "", words=("--data '': no file",))


@pytest.mark.parametrize(
    ("files", "flags", "words"),
    [
        ({"d.csv": GOOD}, ("--text", "body"), ("d.csv", '"body"', '"text"', '"label"', "--text")),
        ({"d.csv": GOOD}, ("--label", "topic"), ("d.csv", '"topic"', '"text"', '"label"', "--label")),
        ({"d.csv": GOOD, "t.csv": "text,label\na,x\n"}, ("--test", "{}/t.csv"), ("t.csv, line 2", '"x"', "neg, pos")),
        ({"d.csv": GOOD, "t.csv": ""}, ("--test", "{}/t.csv"), ("t.csv", "empty")),
        ({"d.csv": GOOD}, ("--validation", "{}/v.csv"), ("v.csv", "give a file")),
        ({"d/readme.md": "x"}, (), ("no train split", "readme.md")),
        ({"d.csv": GOOD}, ("--text", "text", "--text", "label", "--text", "text"), ("data.text", "at most 2")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)  # fmt: skip
def test_bad_data_is_refused_in_one_line(
    files: dict[str, str | bytes],
    flags: tuple[str, ...],
    words: tuple[str, ...],
    shell: Shell,
    tmp_path: Path,
    tiny_encoder: Path,
) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    data = tmp_path / next(iter(files)).partition("/")[0]
    placed = [flag.format(tmp_path) for flag in flags]
    shell.refuses("finetune", tiny_encoder, "--data", data, "--out", shell.out, *placed, words=words)


@pytest.mark.parametrize("command", ["distill", "prune", "quantize"])
def test_a_teacher_with_other_labels_is_refused(
    command: str, shell: Shell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue("tiny_onnx" if command == "quantize" else "tiny_torch")
    data = write(tmp_path / "d.csv", GOOD)
    settings = ("--ffn", "0.5") if command == "prune" else ()
    words = (str(model), "negative, positive", "neg, pos", "give the data it was trained on")
    shell.refuses(command, model, "--data", data, "--out", shell.out, *settings, words=words)


def test_pairs_are_refused_by_a_model_of_single_texts(shell: Shell, tiny_torch: Path, tmp_path: Path) -> None:
    lines = [f'{{"sentence1": "a", "sentence2": "b {number}", "label": "{"np"[number % 2]}"}}' for number in range(40)]
    data = write(tmp_path / "d.jsonl", "\n".join(lines))
    words = (str(tiny_torch), "single_label", "pair_single_label")
    shell.refuses("distill", tiny_torch, "--data", data, "--out", shell.out, words=words)


# Bad output folder --------------------------------------------------------------------------------------------------


def test_an_existing_out_is_refused(shell: Shell, tiny_torch: Path) -> None:
    write(shell.out / MANIFEST, "{}")
    shell.refuses("export", tiny_torch, "--out", shell.out, words=(str(shell.out), "exists", "--overwrite"))


def test_overwrite_replaces_a_folder_of_ours(shell: Shell) -> None:
    write(shell.out / MANIFEST, '{"format_version": 1, "files": []}')
    write(shell.out / "old", "")
    status, _, stderr = shell("export", STORED_RUN / "teacher", "--out", shell.out, "--overwrite", "--threads", "1")
    assert status == 0, stderr
    assert not (shell.out / "old").exists()
    assert (shell.out / "onnx" / "model.onnx").is_file()
    assert [path.name for path in shell.runs.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["export", "run"])
def test_overwrite_leaves_alone_what_is_not_ours(command: str, shell: Shell, tiny_torch: Path, tmp_path: Path) -> None:
    write(shell.out / "thesis.tex", "years of work")
    recipe = write(tmp_path / "r.yaml", f"data: {tmp_path}\nsteps: {{onnx: {{step: export, model: {tiny_torch}}}}}\n")
    source = tiny_torch if command == "export" else recipe
    shell.refuses(command, source, "--out", shell.out, "--overwrite", words=(str(shell.out), "choose another"))


@pytest.mark.parametrize("command", ["auto", "run"])
def test_a_run_or_search_does_not_grow_inside_a_plain_model(
    command: str, shell: Shell, tiny_encoder: Path, tiny_data: Path
) -> None:
    model = Path(shutil.copytree(tiny_encoder, shell.runs / "model"))
    given: list[str | Path] = [model, "--data", tiny_data, "--max-drop", "1"]
    if command == "run":
        step = {"step": "finetune", "model": str(model)}
        given = [write(shell.runs / "r.yaml", json.dumps({"data": str(tiny_data), "steps": {"teacher": step}}))]
    shell.refuses(command, *given, "--out", model / "out", words=(f"lies in the model's folder {model}; choose",))


def test_overwrite_never_eats_an_input(shell: Shell, tiny_torch: Path, tiny_data: Path) -> None:
    """Neither the model, nor the data, nor what a setting names."""
    model, data = shell.runs / "model", shell.runs / "data"
    shutil.copytree(tiny_torch, model)
    shutil.copytree(tiny_data, data)
    write(data / "dataset.json", "{}")
    common = (*QUICK, "--overwrite", "--out")
    words = ("holds the input", "choose another")
    shell.refuses("export", model, "--overwrite", "--out", model, words=words)
    shell.refuses("finetune", model, "--data", data, *common, data, words=words)
    shell.refuses("distill", tiny_torch, "--data", tiny_data, "--student", model, *common, model, words=words)
    shell.refuses(
        "prune", tiny_torch, "--data", tiny_data, "--teacher", model, "--ffn", "0.5", *common, model, words=words
    )
    test = ("--test", str(data / "test.jsonl"))
    shell.refuses("finetune", tiny_torch, "--data", tiny_data, *test, *common, data, words=words)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_an_out_that_cannot_be_written_is_refused(overwrite: tuple[str, ...], shell: Shell, tiny_torch: Path) -> None:
    file = write(shell.runs / "file", "")
    for out in (file, file / "out", file / "deep" / "out"):
        shell.refuses("export", tiny_torch, "--out", out, *overwrite, words=(f"--out {out}", "choose another"))
    shell.refuses(
        "export",
        tiny_torch,
        "--out",
        shell.runs / ("n" * 300),
        *overwrite,
        words=("--out", "no file can have this name"),
    )


@pytest.mark.parametrize("place", ["", "file/out"])
def test_run_and_demo_refuse_such_an_out_too(place: str, shell: Shell, tiny_torch: Path, tmp_path: Path) -> None:
    write(shell.runs / "file", "")
    recipe = write(tmp_path / "r.yaml", f"data: {tmp_path}\nsteps: {{onnx: {{step: export, model: {tiny_torch}}}}}\n")
    for command in (["run", str(recipe)], ["demo"]):
        shell.refuses(*command, "--out", shell.runs / place, words=("--out", "choose another"))


# Bad models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "what"),
    [
        *product(("distill", "prune", "export", "quantize", "predict"), ("absent", "empty", "file")),
        ("bench", "empty"),
    ],
)
@pytest.mark.usefixtures("forked_workers")
def test_what_is_not_a_model_folder_is_refused(
    command: str, what: str, shell: Shell, tmp_path: Path, tiny_data: Path
) -> None:
    model = tmp_path / what
    if what == "empty":
        model.mkdir()
    if what == "file":
        model.touch()
    out = () if command == "predict" else ("--out", str(shell.out))
    data = () if command in {"predict", "export"} else ("--data", str(tiny_data))
    settings = {"prune": ("--ffn", "0.5"), "predict": ("a text",)}.get(command, ())
    shell.refuses(command, model, *data, *out, *settings, words=(str(model), "give"))


def test_a_model_of_another_kind_is_refused(shell: Shell, tiny_torch: Path, tiny_int8: Path, tiny_data: Path) -> None:
    shell.refuses("predict", tiny_torch, "a text", words=(str(tiny_torch), "PyTorch", "compress export"))
    shell.refuses("export", tiny_int8, "--out", shell.out, words=(str(tiny_int8), "ONNX"))
    arguments = ("--data", tiny_data, "--out", shell.out)
    shell.refuses("distill", tiny_int8, *arguments, words=(str(tiny_int8), "ONNX"))
    shell.refuses("quantize", tiny_int8, *arguments, words=(str(tiny_int8), "quantized already"))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        (None, flip, ("changed", "again")),
        (None, truncate, ("bytes", "again")),
        (None, Path.unlink, ("missing", "again")),
        (MANIFEST, truncate, ("damaged", "again")),
    ],
    ids=["changed", "truncated", "missing", "manifest"],
)
@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.usefixtures("forked_workers")
def test_a_damaged_model_folder_is_refused(
    kind: str,
    name: str | None,
    damage: Callable[[Path], object],
    words: tuple[str, ...],
    shell: Shell,
    tiny_data: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder = shell.runs / "model"
    shutil.copytree(request.getfixturevalue(f"tiny_{kind}"), folder)
    damaged = folder / (name or {"torch": "model.safetensors", "onnx": "onnx/model.onnx"}[kind])
    damage(damaged)
    words = (str(damaged), *words)
    data = ("--data", tiny_data, "--out", shell.out)
    if kind == "torch":
        shell.refuses("export", folder, "--out", shell.out, words=words)
        shell.refuses("distill", folder, *data, words=words)
        shell.refuses("finetune", folder, *data, words=words)
    else:
        shell.refuses("predict", folder, "a text", words=words)
    shell.refuses("quantize", folder, *data, words=words)
    shell.refuses("bench", folder, *data, words=words)
    status, stdout, _ = shell("doctor", folder, "--json")
    finding = json.loads(stdout)[-1]
    assert status == 0
    assert not finding["ok"]
    assert all(word in finding["text"] for word in words)


# Bad settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "flags", "words"),
    [
        ("finetune", ("--epochs", "0"), ("finetune.epochs", "above 0", "got 0")),
        ("finetune", ("--epochs", "half"), ("finetune.epochs", "number", "got half")),
        ("finetune", ("--learning-rate", "1"), ("finetune.learning_rate", "below 1")),
        ("finetune", ("--learning-rate", "nan"), ("finetune.learning_rate", "nan")),
        ("finetune", ("--warmup", "1"), ("finetune.warmup", "at least 0 and below 1")),
        ("finetune", ("--metric", "auc"), ("finetune.metric", "macro_f1", "got auc")),
        ("finetune", ("--threads", "0"), ("finetune.threads", "above 0")),
        ("finetune", ("--seed", "-1"), ("finetune.seed", "at least 0")),
        ("finetune", ("--max-length", "100000"), ("finetune.max_length", "at most 8192")),
        ("distill", ("--layers", "0"), ("distill.layers", "got 0")),
        ("distill", ("--layers", "5"), ("distill.layers", "at most 4", "got 5")),
        ("distill", ("--layers", "0,4"), ("distill.layers", "from 0 to 3", "got 0,4")),
        ("distill", ("--layers", "2,1"), ("distill.layers", "rising", "got 2,1")),
        ("distill", ("--layers", "1,1"), ("distill.layers", "rising")),
        ("distill", ("--layers=-1,2",), ("distill.layers",)),
        ("distill", ("--layers", "some"), ("distill.layers", "some")),
        ("distill", ("--layers", "2", "--student", "s"), ("distill", "layers or student, not both")),
        ("distill", ("--temperature", "0"), ("distill.temperature", "above 0 and at most 100", "got 0")),
        ("distill", ("--temperature", "inf"), ("distill.temperature", "at most 100")),
        ("distill", ("--hard-weight", "-1"), ("distill.hard_weight", "at least 0", "got -1")),
        ("distill", ("--soft-weight", "0", "--hard-weight", "0"), ("distill has nothing to learn from", "soft_weight")),
        ("distill", ("--hidden-weight", "1", "--layer-map", "1,4"), ("distill.layer_map", "0 to 3", "1,4")),
        ("distill", ("--hidden-weight", "1", "--layer-map", "1"), ("distill.layer_map", "2")),
        ("distill", ("--relation-weight", "1", "--relation-layer", "4"), ("distill.relation_layer", "3", "4")),
        ("distill", ("--hidden-size", "65"), ("distill.hidden_size", "64", "got 65")),
        ("distill", ("--heads", "5"), ("distill.heads", "4", "got 5")),
        ("distill", ("--ffn-size", "129"), ("distill.ffn_size", "128", "got 129")),
        ("distill", ("--heads", "2", "--student", "s"), ("distill", "heads or student, not both")),
        ("distill", ("--loss", "no.such.loss"), ("distill.loss", "no.such.loss")),
        ("distill", ("--unlabeled", "nowhere.txt"), ("nowhere.txt",)),
        ("distill", ("--track", "wandb"), ("--track wandb", "pip install wandb")),
        ("prune", (), ("prune", "heads or ffn", "or vocabulary")),
        ("prune", ("--heads", "1"), ("prune.heads", "at least 0 and below 1", "got 1")),
        ("prune", ("--ffn", "-0.1"), ("prune.ffn", "at least 0 and below 1", "got -0.1")),
        ("prune", ("--ffn", "nan"), ("prune.ffn",)),
        ("quantize", ("--max-drop", "-1"), ("quantize.max_drop", "at least 0")),
        ("bench", ("--seconds", "0"), ("bench.seconds", "above 0")),
        ("bench", ("--batch", "1,0"), ("bench.batch",)),
        ("bench", ("--length", "32,x"), ("bench.length",)),
        ("export", ("--threads", "0"), ("export.threads", "above 0", "got 0")),
        ("finetune", ("--no-such-flag",), ("finetune", "--no-such-flag", "--help")),
        ("finetune", ("--epoch", "3"), ("finetune", "--epoch", "--help")),  # no abbreviations: they would break later
        ("finetune", ("--epochs",), ("finetune", "--epochs", "--help")),
        ("export", ("--data", "d.csv"), ("export", "--data", "--help")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)  # fmt: skip
def test_settings_out_of_range_say_what_is_allowed(
    command: str,
    flags: tuple[str, ...],
    words: tuple[str, ...],
    shell: Shell,
    tiny_data: Path,
    request: pytest.FixtureRequest,
) -> None:
    model = request.getfixturevalue("tiny_onnx" if command in {"quantize", "bench"} else "tiny_torch")
    data = () if command == "export" else ("--data", str(tiny_data))
    shell.refuses(command, model, *data, "--out", shell.out, *flags, words=words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fly",), ("fly", "finetune", "bench")),
        (("--fly",), ("COMMAND",)),
        (("finetune",), ("finetune", "--data", "--out")),
        (("export", "m"), ("export", "--out")),
        (("run",), ("run", "RECIPE", "--out")),
        (("run", "absent.yaml", "--out", "o"), ("absent.yaml", "no such file")),
        (("predict",), ("predict", "MODEL")),
        (("predict", "m", "--threads", "x"), ("predict", "--threads", "x")),
        (("doctor", "--out", "x"), ("doctor", "--out")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)  # fmt: skip
def test_a_command_line_that_cannot_be_read_is_one_line(
    arguments: tuple[str, ...], words: tuple[str, ...], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shell.runs)
    shell.refuses(*arguments, words=words)


@pytest.mark.parametrize(
    ("data", "steps", "words"),
    [
        ("absent.csv", "{onnx: {step: export, model: %s}}", ("absent.csv",)),
        ("%s", "{onnx: {step: export, model: ./absent}}", ("absent", "give")),
        ("%s", "{s: {step: distill, teacher: %s, layers: 9}}", ("distill.layers", "at most 4")),
    ],
)
def test_a_run_that_could_do_nothing_leaves_nothing(
    data: str, steps: str, words: tuple[str, ...], shell: Shell, tmp_path: Path, tiny_torch: Path, tiny_data: Path
) -> None:
    data, steps = data.replace("%s", str(tiny_data)), steps.replace("%s", str(tiny_torch))
    recipe = write(tmp_path / "r.yaml", f"data: {data}\nsteps: {steps}\n")
    if data == "absent.csv":
        shell.refuses("run", recipe, "--out", shell.out, words=words)
    else:  # the data were read and are worth keeping
        status, _, stderr = shell("run", recipe, "--out", shell.out)
        assert status == 2
        assert all(word in stderr for word in words)
        assert {path.name for path in shell.out.iterdir()} <= {"data", "run.json", ".lock"}


# Output -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", STEPS)
@pytest.mark.usefixtures("forked_workers")
def test_json_is_one_document_and_quiet_is_quiet(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if command == "cascade":  # of a model joined with itself no time and no answer says that it pays
        given_ms = cycle([[1.0, 2.0], [2.0, 1.5]])
        monkeypatch.setattr(joining, "_answer_ms", lambda *_: next(given_ms))
        monkeypatch.setattr(joining, "choose_hand_on", lambda *_: HandOn(0.9, 0.2, 0.95, 60, 0.5, 0.0, 0.1))
    model = STORED_RUN / ("onnx" if command in {"quantize", "cascade", "bench"} else "teacher")
    models = [str(model)] * len(STEPS[command].inputs)
    settings = {
        "finetune": QUICK,
        "distill": (*QUICK, "--layers", "1"),
        "prune": (*QUICK, "--heads", "0.5", "--ffn", "0.5", "--samples", "32"),
        "cascade": ("--max-drop", "50", "--threads", "1"),
        "quantize": QUANTIZED,
        "bench": ("--seconds", "0.1", "--threads", "1"),
    }.get(command, ("--threads", "1"))
    data = () if command == "export" else ("--data", str(STORED_RUN / "data"))
    out = tmp_path / "runs" / "out"
    capfd.readouterr()
    status = main([command, *models, *data, "--out", str(out), *settings, "--json", "--quiet"])
    stdout, stderr = capfd.readouterr()
    assert (status, stderr) == (0, "")
    document = json.loads(stdout)
    assert document["step"] == command
    assert document["folder"] == str(out)
    assert document["metrics"]
    assert out.is_dir()
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_progress_is_on_stderr_and_results_are_on_stdout(shell: Shell) -> None:
    model, data = STORED_RUN / "onnx", STORED_RUN / "data"
    status, stdout, stderr = shell("quantize", model, "--data", data, "--out", shell.out, *QUANTIZED)
    assert status == 0
    assert str(shell.out) in stdout
    assert "validation: 24/24" in stderr
    assert "validation: 24/24" not in stdout


@pytest.mark.parametrize("model", [False, True])
def test_doctor_as_json_and_as_text(model: bool, shell: Shell, tiny_int8: Path) -> None:
    folder = (tiny_int8,) if model else ()
    status, stdout, stderr = shell("doctor", *folder, "--json", "--quiet")
    assert (status, stderr) == (0, "")
    findings = json.loads(stdout)
    assert {"cpu", "gpu", "versions", "train", "demo"} <= {finding["about"] for finding in findings}
    assert ("model" in {finding["about"] for finding in findings}) == model
    if not model:  # which takes a second to be timed
        status, stdout, _ = shell("doctor")
        assert status == 0
        assert len(stdout.splitlines()) == len(findings)


# predict ------------------------------------------------------------------------------------------------------------

TEXTS = ["a good film", "a dull, dull mess", "ünïcode 漢字"]


def labels_in(stdout: str) -> list[tuple[str, str]]:
    return [(line.split("\t")[0], line.split("\t", 2)[2]) for line in stdout.splitlines()]


def test_predict_answers_arguments(shell: Shell, tiny_int8: Path) -> None:
    status, stdout, stderr = shell("predict", tiny_int8, *TEXTS)
    assert (status, stderr) == (0, "")
    expected = [prediction.label for prediction in compress.load(tiny_int8)(TEXTS)]
    assert labels_in(stdout) == list(zip(expected, TEXTS, strict=True))


@pytest.mark.parametrize("ending", ["", "\n"])
def test_predict_answers_stdin(ending: str, shell: Shell, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = TEXTS * 200  # more than are answered at once
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(texts) + ending))
    status, stdout, _ = shell("predict", tiny_onnx, "--threads", "1")
    assert status == 0
    assert [text for _, text in labels_in(stdout)] == texts


def test_flags_of_predict_may_stand_anywhere(shell: Shell, tiny_int8: Path) -> None:
    answers = [
        shell("predict", *map(str, arguments))
        for arguments in (
            ("--json", tiny_int8, *TEXTS),
            (tiny_int8, "--json", *TEXTS),
            (tiny_int8, TEXTS[0], "--json", *TEXTS[1:]),
            (tiny_int8, *TEXTS, "--json"),
            (tiny_int8, "--json", "--", *TEXTS),
        )
    ]
    assert [status for status, _, _ in answers] == [0] * len(answers)
    assert len({stdout for _, stdout, _ in answers}) == 1
    assert [one["text"] for one in json.loads(answers[0][1])] == TEXTS
    status, _, stderr = shell("--json", "predict", str(tiny_int8), *TEXTS)
    assert (status, "unrecognized arguments: --json;" in stderr) == (2, True)  # but not before its name


def test_predict_as_json_has_what_load_answers(shell: Shell, tiny_int8: Path) -> None:
    _, stdout, _ = shell("predict", tiny_int8, "--json", "--threads", "1", *TEXTS)
    for one, prediction in zip(json.loads(stdout), compress.load(tiny_int8, threads=1)(TEXTS), strict=True):
        assert one["scores"] == prediction.scores
        assert (one["label"], one["score"]) == (prediction.label, prediction.score)


def test_predict_as_jsonl_has_the_objects_of_json(
    shell: Shell, tiny_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [*TEXTS, "", "two\nlines", 'tab\tand "quotes"', "\u2028"]
    _, lines, _ = shell("predict", tiny_int8, "--format", "jsonl", *odd)
    _, document, _ = shell("predict", tiny_int8, "--json", *odd)
    assert [json.loads(line) for line in lines.removesuffix("\n").split("\n")] == json.loads(document)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(TEXTS)))
    _, streamed, _ = shell("predict", tiny_int8, "--format", "jsonl")
    assert streamed.split("\n")[:3] == lines.split("\n")[:3]
    shell.refuses("predict", tiny_int8, "--json", "--format", "jsonl", "a", words=("--json", "--format jsonl"))
    shell.refuses("predict", tiny_int8, "--format", "csv", "a", words=("--format", "csv", "tsv", "jsonl"))


def give_bytes(patch: pytest.MonkeyPatch, content: bytes) -> None:
    """Have stdin hold these, where the locale is C."""
    patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))


def test_predict_as_tsv_has_a_line_for_each_line(
    shell: Shell, tiny_int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a\rb", "", "c\r", "\u2028\x0b\x0c\x85", "d\te", "\ufeff"]
    give_bytes(monkeypatch, ("\ufeff" + "".join(f"{text}\n" for text in texts)).encode())  # a mark, as Windows writes
    status, found, _ = shell("predict", tiny_int8, "--format", "tsv")
    assert status == 0
    assert [line.split("\t", 2)[2] for line in found.removesuffix("\n").split("\n")] == [
        text.removesuffix("\r").replace("\r", "\\r") for text in texts
    ]


def test_predict_reads_no_more_lines_than_it_needs(tiny_onnx: Path) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        while True:
            read.append(len(read))
            yield TEXTS[len(read) % len(TEXTS)]

    with compress.load(tiny_onnx, threads=1) as classifier:
        answers = [answer for _, answer in zip(range(1500), stream.predict(classifier, endless()), strict=False)]
    assert len(answers) == 1500
    assert len(read) < 3000


def test_predict_answers_nothing_with_nothing(shell: Shell, tiny_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert shell("predict", tiny_int8) == (0, "", "")
    status, stdout, _ = shell("predict", tiny_int8, "--json")
    assert (status, json.loads(stdout)) == (0, [])


def test_predict_refuses_what_is_not_utf8(shell: Shell, tiny_int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give_bytes(monkeypatch, b"good\ncaf\xe9\n")
    status, _, stderr = shell("predict", tiny_int8)
    assert status == 2
    assert re.fullmatch(r"compress: predict: text 2: not UTF-8 .*find the encoding.*\n", stderr)


@pytest.mark.parametrize("threads", ["0", "-2"])
def test_predict_refuses_impossible_threads(threads: str, shell: Shell, tiny_int8: Path) -> None:
    shell.refuses("predict", tiny_int8, f"--threads={threads}", "a text", words=("--threads", threads))


def test_predict_reads_pairs_with_a_tab(shell: Shell, tiny_onnx: Path) -> None:
    folder = shell.runs / "pairs"
    shutil.copytree(tiny_onnx, folder)
    write_manifest(folder, replace(read_manifest(folder), task="pair_single_label"))
    status, stdout, _ = shell("predict", folder, "a film\tis good", "--json")
    assert status == 0
    expected = compress.load(folder)([("a film", "is good")])[0]
    assert json.loads(stdout)[0]["scores"] == pytest.approx(expected.scores)
    shell.refuses("predict", folder, "a film is good", words=("pairs", "tab", "'a film is good'"))


# Help ---------------------------------------------------------------------------------------------------------------


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    return " ".join(stdout.split())


def test_the_commands_are_these() -> None:
    """The tests of each command take their names from the tables that they check."""
    steps = {"finetune", "distill", "prune", "export", "calibrate", "quantize", "cascade", "bench"}
    assert STEPS.keys() == steps
    assert COMMANDS.keys() == steps | {"demo", "auto", "run", "predict", "serve", "check", "doctor"}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(capsys, command)
    assert shown.startswith(f"usage: compress {command} ")
    for flag in ("--json", "--quiet"):
        assert flag in shown
    assert command in help_of(capsys)


@pytest.mark.parametrize("spec", STEPS.values(), ids=STEPS)
def test_every_setting_is_a_flag_with_help(spec: StepSpec, capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of(capsys, spec.name)
    for group in spec.groups:
        for name, field in group.model_fields.items():
            flag = "--" + (field.alias or name).replace("_", "-")
            assert re.search(rf"{flag}[ ,]", shown), flag
            assert " ".join((field.description or "?").split()) in shown.replace("- ", "-"), flag


@pytest.mark.parametrize("spec", STEPS.values(), ids=STEPS)
def test_every_flag_is_a_setting(spec: StepSpec, capsys: pytest.CaptureFixture[str]) -> None:
    fields = {field.alias or name for group in spec.groups for name, field in group.model_fields.items()}
    known = {*fields, "out", "overwrite", "json", "quiet", "help"}
    for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", help_of(capsys, spec.name)):
        assert flag.removeprefix("no-").replace("-", "_") in known, flag


def test_help_says_what_a_value_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--provider NAME" in help_of(capsys, "bench")
    assert "an ONNX folder of export, quantize or calibrate" in help_of(capsys, "export")
    shown = help_of(capsys, "distill")
    for flag in ("--data D", "--label COL", "--text COL", "--test FILE", "--teacher-cache DIR", "--student MODEL"):
        assert flag in shown


def test_a_default_of_0_is_a_default_like_others(capsys: pytest.CaptureFixture[str]) -> None:
    shown = " ".join(help_of(capsys, "finetune").split())
    for words in ("everything random in the step (default: 0)", "entropy (default: 0.0)", "(default: 32)"):
        assert words in shown
    assert "(default: None)" not in shown
    assert "(default: False)" not in shown
    assert "(default: [])" not in shown


@pytest.mark.parametrize("on_path", [False, True], ids=["compress", "python -m compress"])
def test_a_folder_named_like_a_package_is_not_taken_for_it(
    on_path: bool, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()  # as it is there after a training that wandb tracked
    monkeypatch.chdir(tmp_path)
    if on_path:
        monkeypatch.syspath_prepend(tmp_path)
    data = ("--data", "d.csv", "--out", shell.out)
    shell.refuses("finetune", "model", *data, "--track", "wandb", words=("--track wandb", "pip install wandb"))


def test_a_working_folder_that_is_gone_stops_no_command(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert shell("run", "--schema")[0] == 0
    assert shell("doctor", "--json")[0] == 0


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"compress {compress.__version__}\n"


def test_the_recipes_schema_is_printed(shell: Shell) -> None:
    status, stdout, _ = shell("run", "--schema")
    assert status == 0
    assert json.loads(stdout)["title"] == "Recipe"


# Interruption -------------------------------------------------------------------------------------------------------


def test_ctrl_c_in_the_middle_of_a_step_leaves_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, tiny_torch: Path, tiny_data: Path
) -> None:
    arguments: list[Any] = [tiny_torch, "--data", tiny_data, "--out", tmp_path / "out", "--layers", "2", *QUICK]
    command = ["compress", "distill", *map(str, arguments), "--epochs", "1000"]
    told, printed = tmp_path_factory.mktemp("told") / "stderr", tmp_path_factory.mktemp("printed") / "stdout"
    process = start_module(command, told, printed=printed)
    # What it says next: then the training has a thousand epochs to go.
    wait_until(lambda: told.exists() and "teacher cache:" in told.read_text(encoding="utf-8"))
    assert process.pid is not None
    assert {path.name for path in tmp_path.iterdir()} == {".out.lock", ".out.partial"}
    os.kill(process.pid, signal.SIGINT)
    process.join()
    stderr = told.read_text(encoding="utf-8")
    assert process.exitcode == 130
    assert printed.read_text(encoding="utf-8") == ""
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("compress: interrupted")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_an_output_that_takes_nothing_is_told(tiny_int8: Path, tmp_path: Path) -> None:
    command, told = ["compress", "predict", str(tiny_int8), "a text", "another"], tmp_path / "told"
    process = start_module(command, told, printed=Path("/dev/full"))
    process.join()
    assert process.exitcode == 2
    assert told.read_text() == "compress: the output: No space left on device; free some space, then run it again\n"


def test_a_reader_that_wants_no_more_is_no_error(tiny_int8: Path) -> None:
    texts = ["x" * 1_000] * 300  # more than a pipe has room for
    command = [sys.executable, "-m", "compress", "predict", str(tiny_int8), *texts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()  # as `head -1` does
        told = process.stderr.read()
    assert (process.returncode, told) == (0, "")


def test_a_fault_of_ours_ends_with_1_and_a_traceback() -> None:
    program = (
        "import runpy, compress.cli.main as cli; cli._parse = None; runpy.run_module('compress', run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("Traceback")


def test_no_text_and_no_stdin_is_one_line(shell: Shell, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it where the shell closed it: <&-
    shell.refuses("predict", tiny_onnx, words=("predict: no TEXT, and stdin is closed",))


@pytest.mark.parametrize("closed", [True, False])
def test_without_an_output_the_work_is_done(closed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    output.close()
    monkeypatch.setattr(sys, "stdout", output if closed else None)
    assert main(["run", "--schema"]) == 0


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "; free some space, then run it again"), (errno.EIO, "")]
)
def test_more_space_is_advised_where_it_helps(
    number: int, advice: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sys, "stdout", Broken())
    assert main(["run", "--schema"]) == 2
    assert capfd.readouterr().err == f"compress: the output: {os.strerror(number)}{advice}\n"


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("finetune", "m", "--data", "d"), ("--batch-size", "--gradient-accumulation")),
        (("run", "recipe.yaml"), ("batch_size and double its gradient_accumulation in the recipe",)),
        (("export", "m"), ("end other programs",)),
    ],
    ids=lambda value: value[0],
)
def test_a_lack_of_memory_is_one_line(
    arguments: tuple[str, ...], advice: tuple[str, ...], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(_: Any) -> None:
        torch.empty(1 << 60)

    monkeypatch.setitem(COMMANDS, arguments[0], replace(COMMANDS[arguments[0]], call=call))
    shell.refuses(*arguments, "--out", shell.out, words=("out of memory (", "allocate", *advice))


@pytest.mark.parametrize("as_json", [False, True])
def test_the_demo_searches_beside_its_teacher(
    as_json: bool, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the slow test of the search itself does, with a run and a search that only say what they are asked."""
    asked: list[Any] = []

    def run(recipe: Recipe, out: Path, **settings: Any) -> None:
        asked.append((list(recipe.steps), out, settings))

    def auto(*places: Path, **settings: Any) -> StepResult:
        asked.append((places, settings))
        return StepResult("auto", places[-1], 1.0, {"tries": 2})

    monkeypatch.setattr("compress.recipes.run.run", run)
    monkeypatch.setattr("compress.tuning.auto.auto", auto)
    out, flags = tmp_path / "demo", ["--json"] if as_json else []
    status, stdout, _ = shell("demo", "--auto", "--out", out, "--seed", "3", "--overwrite", *flags)
    places = (out / "teacher", out / "data", out / "auto")
    settings: dict[str, Any] = {"seed": "3", "overwrite": True}
    assert (status, asked) == (0, [(["teacher"], out, settings), (places, {"max_drop": 1.0, **settings})])
    if as_json:
        assert json.loads(stdout)["metrics"] == {"tries": 2}
    else:
        assert stdout.splitlines()[-1] == f"model:  {out / 'auto' / 'best'}"


def test_without_a_command_it_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_of:
        main([])
    assert exit_of.value.code == 0
    assert "finetune" in capsys.readouterr().out
