"""The environments that the peers run in: one for each toolkit, made where it is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

# torch first and alone: another version may come as gigabytes of CUDA. Each list is one call of pip.
_TORCH = ("torch==2.13.0",)
_TRANSFORMERS = "transformers==5.23.0"
_ONNX = ("onnx==1.23.2", "onnxruntime==1.31.1", "onnxscript")
# What onnx-neural-compressor 1.0 imports and does not ask pip for.
_UNDECLARED = ("prettytable", "py-cpuinfo", "psutil", "pydantic", "scipy")
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "scikit-learn": (("scikit-learn==1.9.1",),),
    "transformers": (_TORCH, (_TRANSFORMERS, "torchao==0.18.0")),
    "onnxruntime": (_TORCH, (_TRANSFORMERS, *_ONNX)),
    "openvino-nncf": (_TORCH, (_TRANSFORMERS, "openvino==2026.4.1", "nncf==3.4.0")),
    "optimum-onnx": (_TORCH, ("optimum-onnx[onnxruntime]==0.1.0", "onnxruntime==1.32.0", "onnx==1.23.2")),
    "model2vec": (_TORCH, ("model2vec[distill,inference,quantization,train]==0.10.0",)),
    "olive": (_TORCH, ("olive-ai==0.13.0", "requests", _TRANSFORMERS, *_ONNX)),
    "neural-compressor": (_TORCH, (_TRANSFORMERS, *_ONNX, "onnx-neural-compressor==1.0", *_UNDECLARED)),
    # Of benchmarks.graphs and of benchmarks.textbrewer_speed.
    "nncf": (("openvino==2026.4.1", "nncf==3.4.0", "onnx==1.23.2"),),
    "textbrewer": (_TORCH, (_TRANSFORMERS, "textbrewer==0.2.1.post1")),
    "modelopt": (_TORCH, (_TRANSFORMERS, "nvidia-modelopt[onnx]==0.47.0")),
}


class CannotInstallError(Exception):
    """The packages of a peer do not install here; the last lines of pip say why."""


def python_of(name: str, environments: Path) -> Path:
    """The Python of the environment ``name`` in ``environments``; it is made anew where it has not these packages."""
    folder = environments / name
    python, done = folder / "bin" / "python", folder / ".done"
    pins = "".join(f"{' '.join(packages)}\n" for packages in ENVIRONMENTS[name])
    if not done.is_file() or done.read_text(encoding="utf-8") != pins:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {name} into {folder}", file=sys.stderr)
        _run(sys.executable, "-m", "venv", "--without-pip", folder)
        for packages in ENVIRONMENTS[name]:
            _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *packages)
        done.write_text(pins, encoding="utf-8")
    return python


def _run(*command: str | Path) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CannotInstallError(ended.stderr.strip()[-1000:])
