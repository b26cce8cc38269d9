"""Killed at any moment, the same command goes on and ends with the same bytes; two processes train as one."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import compress
from compress.cli.main import main
from compress.folder import read_manifest
from tests.processes import start_module

SETTINGS = ["--epochs", "2", "--precision", "fp32", "--learning-rate", "5e-4", "--batch-size", "8", "--threads", "1"]
DEADLINE_S = 120


def command(name: str, model: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [name, str(model), "--data", str(data), "--out", str(out), *SETTINGS, *more]


def start(arguments: list[str], told: Path) -> BaseProcess:
    return start_module(["compress", *arguments], told)


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """In this process, which is another than those that were killed; what it says."""
    capsys.readouterr()
    status, told = main(arguments), capsys.readouterr().err
    assert status == 0, told
    return told


def when_checkpointed(process: BaseProcess, unfinished: Path, checkpoints: int, told: Path) -> None:
    """Return as soon as the training has written so many checkpoints, whatever it is doing then."""
    seen: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < checkpoints:
        assert process.is_alive(), told.read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        seen |= {path.name for path in unfinished.glob("step-*[0-9]")}
        time.sleep(0.002)


def kill_after(arguments: list[str], unfinished: Path, checkpoints: int, told: Path) -> None:
    process = start(arguments, told)
    when_checkpointed(process, unfinished, checkpoints, told)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a process writes what it says, outside the folders that the tests look at."""
    return tmp_path_factory.mktemp("told") / "told.txt"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "compress.json"}


@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    name: str,
    shallow_encoder: Path,
    shallow_torch: Path,
    tiny_data: Path,
    tmp_path: Path,
    told: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    model = {"finetune": shallow_encoder, "distill": shallow_torch}[name]
    more = ["--layers", "1"] if name == "distill" else []
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(command(name, model, tiny_data, whole, *more), capsys)
    arguments = command(name, model, tiny_data, killed, "--checkpoint-seconds", "0", *more)
    for checkpoints in (2, 4):  # killed twice, at other places
        kill_after(arguments, tmp_path / ".killed.unfinished", checkpoints, told)
        assert not killed.exists()
    assert "goes on after step" in run(arguments, capsys)
    assert contents(killed) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} <= {"whole", "killed", "cache"}  # nothing is left behind
    curves = [read_manifest(folder).history[-1]["metrics"]["curve"] for folder in (whole, killed)]
    assert curves[0] == curves[1]


def test_two_who_write_the_same_folder_do_not_mix(
    shallow_encoder: Path, tiny_data: Path, tmp_path: Path, told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("finetune", shallow_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0")
    first = start(arguments, told)
    when_checkpointed(first, tmp_path / ".out.unfinished", 1, told)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)  # so that it is not done before the second has looked
    try:
        assert main(arguments) == 2
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert "another process is writing it" in capsys.readouterr().err
    first.join(DEADLINE_S)
    assert first.exitcode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_told_and_leaves_no_half_checkpoint(
    shallow_encoder: Path, tiny_data: Path, tmp_path: Path, told: Path
) -> None:
    arguments = command(
        "finetune", shallow_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0", "--quiet"
    )
    limited = start_module(["compress", *arguments], told, file_bytes=200_000)
    limited.join(DEADLINE_S)
    assert limited.exitcode == 2, told.read_text(encoding="utf-8")
    assert "a checkpoint of" in told.read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("*.partial"))


def test_other_settings_start_anew(
    shallow_encoder: Path, tiny_data: Path, tmp_path: Path, told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command("finetune", shallow_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0")
    kill_after(arguments, tmp_path / ".out.unfinished", 1, told)
    said = run([*arguments, "--seed", "1", "--batch-size", "32"], capsys)
    assert "an unfinished training with other settings or data; starting anew" in said
    run(
        command("finetune", shallow_encoder, tiny_data, tmp_path / "whole", "--seed", "1", "--batch-size", "32"), capsys
    )
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_class_weights_in_the_same_file_start_anew(
    shallow_encoder: Path, tiny_data: Path, tmp_path: Path, told: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, more = tmp_path / "weights.json", ["--checkpoint-seconds", "0", "--batch-size", "32"]
    weights.write_text('{"positive": 2}', encoding="utf-8")
    arguments = command(
        "finetune", shallow_encoder, tiny_data, tmp_path / "out", "--class-weights", str(weights), *more
    )
    kill_after(arguments, tmp_path / ".out.unfinished", 1, told)
    weights.write_text('{"positive": 3}', encoding="utf-8")
    assert "an unfinished training with other settings or data; starting anew" in run(arguments, capsys)


def launched(arguments: list[str], told: Path) -> str:
    """Run by ``accelerate launch``, which calls torchrun and adds to its environment; what both processes say."""
    # --multi_gpu is its way to start several processes without MPI; our --device keeps them on the CPU
    launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
                "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip
    return said_by(start_module([*launcher, "-m", "compress", *arguments], told), told)


def given_what_torchrun_gives(arguments: list[str], told: Path) -> str:
    """Two processes with the environment that torchrun documents, but forked: it would import PyTorch three times."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in ("0", "1"):
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**ranks, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}.items():
                patch.setenv(name, value)
            processes.append((start(arguments, told.with_suffix(f".{rank}")), told.with_suffix(f".{rank}")))
    return "".join(said_by(process, file) for process, file in processes)


def said_by(process: BaseProcess, told: Path) -> str:
    process.join(DEADLINE_S)
    said = told.read_text(encoding="utf-8")
    assert process.exitcode == 0, said
    return said


@pytest.mark.parametrize(
    "together",
    [
        pytest.param(given_what_torchrun_gives, id="torchrun"),
        pytest.param(launched, id="accelerate", marks=pytest.mark.slow),  # three processes that import PyTorch
    ],
)
def test_two_processes_make_one_folder_in_half_the_steps(
    together: Callable[[list[str], Path], str],
    tiny_torch: Path,
    tiny_data: Path,
    tmp_path: Path,
    told: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run(command("distill", tiny_torch, tiny_data, tmp_path / "alone"), capsys)
    arguments = command("distill", tiny_torch, tiny_data, tmp_path / "together", "--device", "cpu")
    said = together([*arguments, "--json", "--quiet"], told)
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "together", "cache"}
    metrics = [read_manifest(folder).history[-1]["metrics"] for folder in (tmp_path / "alone", tmp_path / "together")]
    assert metrics[1]["steps"] == pytest.approx(metrics[0]["steps"] / 2, rel=0.05)
    assert metrics[1]["validation_accuracy"] == pytest.approx(
        metrics[0]["validation_accuracy"], abs=3.01 / 60
    )  # three texts of 60: half as many steps of twice the texts are another training
    documents = [json.loads(text) for text in re.findall(r"^{$.*?^}$", said, re.DOTALL | re.MULTILINE)]
    assert [each["metrics"]["steps"] for each in documents] == [metrics[1]["steps"]]  # printed once, by one of them


@pytest.mark.parametrize("value", ["", "two"])
def test_a_number_of_processes_that_is_none_is_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", value)
    with pytest.raises(compress.errors.CompressError, match=rf"^WORLD_SIZE must be .*, got '{value}'; unset it"):
        compress.export("model", tmp_path / "onnx")


def test_what_does_not_train_runs_in_one_process(
    tiny_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(compress.errors.CompressError, match="export: runs in one process"):
        compress.export(tiny_torch, tmp_path / "onnx")
