"""Sets up the other clients, each in an environment of its own under ``.peers/``: ``python -m tests.clients.setup``."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PEERS = Path(__file__).parents[2] / ".peers"
TRANSFORMERS_JS = "@huggingface/transformers@4.3.1"
# optimum-onnx wants transformers below 4.58, which cannot live beside ours. torch is the one of constraints.txt: of
# another version pip may find no CPU build, and fetch gigabytes of CUDA. tritonclient has Triton's protobuf schema.
PYTHON_PEERS = {
    "openvino": ("openvino", "tokenizers"),
    "triton": ("tritonclient[grpc]",),
    "optimum": ("torch==2.13.0", "optimum-onnx[onnxruntime]==0.1.0"),
}


def main() -> None:
    """Make what is missing; a whole environment stays as it is, one that was left half-made is made again."""
    for name, packages in PYTHON_PEERS.items():
        _make(name, packages, _install_python)
    if shutil.which("npm"):
        _make("js", (TRANSFORMERS_JS,), _install_node)


def is_set_up(name: str) -> bool:
    """Whether the environment ``name`` is there, and whole."""
    return _done(name).exists()


def _make(name: str, packages: Sequence[str], install: Callable[[Path, Sequence[str]], None]) -> None:
    folder = PEERS / name
    if is_set_up(name):
        return
    print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    install(folder, packages)
    _done(name).touch()


def _done(name: str) -> Path:
    return PEERS / name / ".done"


def _install_python(folder: Path, packages: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)


def _install_node(folder: Path, packages: Sequence[str]) -> None:
    # Without install scripts: they would fetch a GPU runtime, and the CPU's is in the package.
    subprocess.run(["npm", "install", "--no-fund", "--ignore-scripts", *packages], cwd=folder, check=True)


if __name__ == "__main__":
    main()
