"""OpenVINO and NNCF in an environment of their own: the best int8 peer on x86, which graphs.py is measured against."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".peers" / "nncf"  # the clients' tests have an openvino of their own
PACKAGES = ("openvino==2026.4.1", "nncf==3.4.0", "onnx==1.23.2")


def make_peer() -> Path:
    """The environment's python; it is made where it is missing."""
    python = PEER / "bin" / "python"
    done = PEER / ".done"
    if not done.is_file():
        print(f"installing OpenVINO into {PEER}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", PEER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.touch()
    return python


def quantize(fp32: Path, calibration: Path, out: Path) -> None:
    """NNCF's static int8 of an ONNX file, as its guide has it for transformers, in the peer's environment.

    Args:
        fp32: a stock export.
        calibration: JSON, a list of texts' token ids.
        out: the OpenVINO model (``.xml``) to write.
    """
    subprocess.run([make_peer(), "-m", "benchmarks.openvino_quantize", fp32, calibration, out], check=True, cwd=ROOT)
