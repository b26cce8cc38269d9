"""Olive's own choice of passes for a CPU at int8: ``olive auto-opt``."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """Its command line, with the teacher as a Hugging Face model; it leaves its cache where it runs."""
    with TemporaryDirectory() as scratch:
        made = Path(scratch, "made")
        asked = [
            "--model_name_or_path",
            str(teacher.resolve()),
            "--task",
            "text-classification",
            "--output_path",
            str(made),
        ]
        chosen = ["--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", "int8"]
        subprocess.run([sys.executable, "-m", "olive", "auto-opt", *asked, *chosen], cwd=scratch, check=True)
        (found,) = made.rglob("*.onnx")
        for path in found.parent.glob(f"{found.name}*"):
            (out / path.name).write_bytes(path.read_bytes())
        found = out / found.name
        found.rename(out / "model.onnx")
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime, which is what it writes for."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
