"""What the figures were measured on."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from compress import __version__
from compress.machine import usable_cpus

# What decides which kernels run: vector width, int8 dot products, matrix units, Arm's counterparts.
_FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
_PACKAGES = ("numpy", "onnxruntime", "torch", "transformers")


def describe_machine(threads: list[int]) -> dict[str, Any]:
    """The machine as results.json has it; ``threads`` are the thread counts that were measured."""
    cpuinfo = _cpuinfo()
    flags = set(_field(cpuinfo, r"(?:flags|Features)").split())
    return {
        "cpu": _field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": usable_cpus(),
        "threads": threads,
        "gpu": gpu_name(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "versions": _versions(),
    }


def gpu_name() -> str | None:
    """The first NVIDIA GPU, asked of its driver's tool so that torch need not be imported; None without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip().partition("\n")[0] or None


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _field(cpuinfo: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:(.*)$", cpuinfo, re.MULTILINE)
    return found.group(1).strip() if found else ""


def _versions() -> dict[str, str | None]:
    packages = {package: _version(package) for package in _PACKAGES}
    return {"compress": __version__, "python": platform.python_version()} | packages


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
