"""Killed at any moment, the same command goes on and ends with the same bytes; two processes train as one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.folder import read_manifest

SETTINGS = ["--epochs", "4", "--precision", "fp32", "--learning-rate", "5e-4", "--batch-size", "4", "--threads", "1"]
DEADLINE_S = 120


def command(name: str, model: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [name, str(model), "--data", str(data), "--out", str(out), *SETTINGS, *more]


def start(arguments: list[str], **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "compress", *arguments], stderr=subprocess.PIPE, **options)


def run(arguments: list[str]) -> str:
    process = start(arguments)
    _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, told.decode()
    return told.decode()


def kill_after(arguments: list[str], unfinished: Path, checkpoints: int) -> None:
    """SIGKILL as soon as the training has written so many checkpoints, whatever it is doing then."""
    process = start(arguments)
    seen: set[str] = set()
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < checkpoints:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        seen |= {path.name for path in unfinished.glob("step-*[0-9]")}
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "compress.json"}


@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    name: str, tiny_encoder: Path, tiny_torch: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    model = {"finetune": tiny_encoder, "distill": tiny_torch}[name]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(command(name, model, tiny_data, whole))
    arguments = command(name, model, tiny_data, killed, "--checkpoint-seconds", "0")
    for checkpoints in (2, 4):  # killed twice, at other places
        kill_after(arguments, tmp_path / ".killed.unfinished", checkpoints)
        assert not killed.exists()
    told = run(arguments)
    assert "goes on after step" in told
    assert contents(killed) == contents(whole)
    assert {path.name for path in tmp_path.iterdir()} <= {"whole", "killed", "cache"}  # nothing is left behind
    curves = [read_manifest(folder).history[-1]["metrics"]["curve"] for folder in (whole, killed)]
    assert curves[0] == curves[1]


def test_two_who_write_the_same_folder_do_not_mix(tiny_encoder: Path, tiny_data: Path, tmp_path: Path) -> None:
    arguments = command("finetune", tiny_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0")
    first = start(arguments)
    deadline = time.monotonic() + DEADLINE_S
    while not list(tmp_path.glob(".out.unfinished/step-*[0-9]")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = start(arguments)
    _, told = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 2
    assert "another process is writing it" in told.decode()
    first.communicate(timeout=DEADLINE_S)
    assert first.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_told_and_leaves_no_half_checkpoint(tiny_encoder: Path, tiny_data: Path, tmp_path: Path) -> None:
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); " \
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from compress.cli.main import main; " \
        "sys.exit(main(sys.argv[1:]))"  # fmt: skip
    arguments = command("finetune", tiny_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", limited, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "a checkpoint of" in done.stderr
    assert not list(tmp_path.rglob("*.partial"))


def test_other_settings_start_anew(tiny_encoder: Path, tiny_data: Path, tmp_path: Path) -> None:
    arguments = command("finetune", tiny_encoder, tiny_data, tmp_path / "out", "--checkpoint-seconds", "0")
    kill_after(arguments, tmp_path / ".out.unfinished", 2)
    told = run([*arguments, "--seed", "1"])
    assert "an unfinished training with other settings or data; starting anew" in told
    run(command("finetune", tiny_encoder, tiny_data, tmp_path / "whole", "--seed", "1"))
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def launch(launcher: list[str], arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "compress", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# --multi_gpu is its way to start several processes without MPI; our --device keeps them on the CPU
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]  # fmt: skip


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_make_one_folder_in_half_the_steps(
    launcher: list[str], tiny_torch: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    alone, together = tmp_path / "alone", tmp_path / "together"
    run(command("distill", tiny_torch, tiny_data, alone))
    told = launch(launcher, [*command("distill", tiny_torch, tiny_data, together, "--device", "cpu"), "--json"])
    assert {path.name for path in tmp_path.iterdir()} == {"alone", "together", "cache"}
    metrics = [read_manifest(folder).history[-1]["metrics"] for folder in (alone, together)]
    assert metrics[1]["steps"] == pytest.approx(metrics[0]["steps"] / 2, rel=0.05)
    assert metrics[1]["validation_accuracy"] == pytest.approx(
        metrics[0]["validation_accuracy"], abs=1.01 / 60
    )  # a text of 60
    assert json.loads(told)["metrics"]["steps"] == metrics[1]["steps"]  # printed once, by one of them


def test_what_does_not_train_runs_in_one_process(
    tiny_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(compress.errors.CompressError, match="export: runs in one process"):
        compress.export(tiny_torch, tmp_path / "onnx")
