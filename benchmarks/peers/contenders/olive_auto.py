"""Olive's own choice of passes for a CPU at int8: ``olive auto-opt``."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.peers.contenders import shared


def make(teacher: Path, data: Path, out: Path) -> None:  # noqa: ARG001
    """Its command line, with the teacher as a Hugging Face model."""
    with TemporaryDirectory() as scratch:
        asked = ["--model_name_or_path", str(teacher), "--task", "text-classification", "--output_path", scratch]
        chosen = ["--device", "cpu", "--provider", "CPUExecutionProvider", "--precision", "int8"]
        subprocess.run([sys.executable, "-m", "olive", "auto-opt", *asked, *chosen], check=True)
        (found,) = Path(scratch).rglob("*.onnx")
        for path in found.parent.glob(f"{found.name}*"):
            (out / path.name).write_bytes(path.read_bytes())
        found = out / found.name
        found.rename(out / "model.onnx")
    shared.keep_tokenizer(teacher, out)


def load(folder: Path, threads: int) -> shared.Answer:
    """In ONNX Runtime, which is what it writes for."""
    return shared.onnx_answers(folder / "model.onnx", folder, threads)
