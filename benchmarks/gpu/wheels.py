"""Downloads what the GPU's command needs beside PyTorch and transformers, as wheels in one folder.

    python -m benchmarks.gpu.wheels FOLDER [--python 3.12]

The machine has torch, transformers, numpy, onnxruntime, onnx, accelerate, safetensors, tokenizers, scipy, rich,
filelock and pyyaml; see README.md beside this file for what to do where it lacks one of those.
"""

import argparse
import subprocess
import sys
from pathlib import Path

MISSING = ("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions")
# What the package declares and the command does without: reports' charts, baselines, the hub, and the recipes.
LEFT_OUT = ("vl-convert-python", "jinja2", "scikit-learn", "datasets")
MOST_MB = 60
_GLIBC = (28, 27, 24, 17)


def command(folder: Path, python: str) -> list[str]:
    """Pip's, for a Linux machine with an x86-64 processor."""
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in _GLIBC]
    chosen = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *platforms]
    return [sys.executable, "-m", "pip", "download", "--quiet", *chosen, f"--dest={folder}", *pinned()]


def pinned() -> list[str]:
    """The missing packages; pydantic takes only the core that was made for it, so both are named as they are here."""
    from importlib.metadata import version

    exact = ("pydantic", "pydantic-core")
    return [f"{name}=={version(name)}" if name in exact else name for name in MISSING]


def main() -> None:
    """Download, and say how much it is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.wheels", description="wheels for the GPU machine")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the Python that the machine has")
    given = parser.parse_args()
    subprocess.run(command(given.folder, given.python), check=True)
    wheels = sorted(given.folder.glob("*.whl"))
    total_mb = sum(wheel.stat().st_size for wheel in wheels) / 1e6
    for wheel in wheels:
        print(f"{wheel.stat().st_size / 1e6:6.2f} MB  {wheel.name}")
    print(f"{total_mb:6.2f} MB in all, of {MOST_MB}; left out: {', '.join(LEFT_OUT)}")
    if total_mb > MOST_MB:
        raise SystemExit(f"{given.folder}: {total_mb:.0f} MB of wheels, and the machine takes {MOST_MB}")


if __name__ == "__main__":
    main()
