"""What the figures were measured on."""

import os
import platform
import subprocess
from typing import Any

from compress.machine import cpu_field, cpu_flags, package_versions, usable_cpus
from compress.version import __version__

# What decides which kernels run: vector width, int8 dot products, matrix units, Arm's counterparts.
_FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
_PACKAGES = ("numpy", "onnxruntime", "torch", "transformers")


def describe_machine(threads: list[int]) -> dict[str, Any]:
    """The machine as results.json has it; ``threads`` are the thread counts that were measured."""
    flags = cpu_flags()
    return {
        "cpu": cpu_field("model name") or platform.processor() or platform.machine(),
        "cpu_flags": [flag for flag in _FLAGS if flag in flags],
        "cores": usable_cpus(),
        "threads": threads,
        "gpu": gpu_name(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"compress": __version__, "python": platform.python_version()} | package_versions(_PACKAGES),
    }


def gpu_name() -> str | None:
    """The first NVIDIA GPU, asked of its driver's tool so that torch need not be imported; None without one."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip().partition("\n")[0] or None
