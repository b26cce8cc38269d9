"""Sets up the other clients, each in an environment of its own under ``.peers/``: ``python -m tests.clients.setup``."""

import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).parents[2] / ".peers"
TRANSFORMERS_JS = "@huggingface/transformers@4.3.1"
# optimum-onnx wants transformers below 4.58, which cannot live beside ours; torch's CPU build where an index has it.
PYTHON_PEERS = {
    "optimum": ("torch", "optimum-onnx[onnxruntime]==0.1.0"),
    "openvino": ("openvino", "tokenizers"),
}


def main() -> None:
    """Make what is missing; an environment that is there stays as it is."""
    for name, packages in PYTHON_PEERS.items():
        if not (PEERS / name / "bin" / "python").exists():
            print(f"installing {', '.join(packages)} into {PEERS / name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", PEERS / name], check=True)
            subprocess.run([PEERS / name / "bin" / "pip", "install", "--quiet", *packages], check=True)
    if shutil.which("npm") and not (PEERS / "js" / "node_modules").exists():
        print(f"installing {TRANSFORMERS_JS} into {PEERS / 'js'}", file=sys.stderr)
        (PEERS / "js").mkdir(parents=True, exist_ok=True)
        # Without install scripts: they would fetch a GPU runtime, and the CPU's is in the package.
        subprocess.run(["npm", "install", "--ignore-scripts", TRANSFORMERS_JS], cwd=PEERS / "js", check=True)


if __name__ == "__main__":
    main()
