"""Every wheel that the demo needs, by its hash: python -m release.lock > release/demo.lock.

pip chooses the wheels for this Python and this platform, with the versions of constraints.txt, and installs nothing.
A lock is for one platform: on another one this command makes that one's.
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PIP = ("-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-")
HEAD = """\
# Every wheel that `make demo` needs, for {system} {machine} and Python {python}; `make lock` writes it.
# torch is the CPU build, which for Linux is not on PyPI but at https://download.pytorch.org/whl/cpu.
"""


def main() -> None:
    """Print the lock."""
    command = [sys.executable, *PIP, "--constraint", "constraints.txt", ".[demo]"]
    report = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)
    here = {"system": platform.system(), "machine": platform.machine(), "python": platform.python_version()[:4]}
    wheels = [wheel for wheel in report["install"] if not wheel["is_direct"]]  # all but this package
    sys.stdout.write(HEAD.format(**here) + "".join(sorted(map(line, wheels), key=str.lower)))


def line(wheel: dict[str, Any]) -> str:
    """One requirement: the version without what follows a plus, which indexes add to tell builds apart."""
    about, hashes = wheel["metadata"], wheel["download_info"]["archive_info"]["hashes"]
    return f"{about['name']}=={about['version'].partition('+')[0]} --hash=sha256:{hashes['sha256']}\n"


if __name__ == "__main__":
    main()
