"""What this process may use: CPUs, threads, devices."""

import os
from pathlib import Path

from compress.errors import CompressError


def usable_cpus() -> int:
    """CPUs that this process may run on, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``; asking for a GPU that is not there is an error."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise CompressError("--device cuda: PyTorch sees no CUDA GPU here; use --device cpu")
    return wanted


def use_threads(threads: int | None) -> None:
    """Have PyTorch use so many CPU threads (default: all that this process may use), and wait without spinning.

    OpenMP's threads spin while they wait for each other. On a CPU that another process uses too they then take the time
    of the thread that they wait for: training beside a busy neighbour was measured seven times slower. The policy is
    read when the library loads, and is set for that moment only, so that nothing else inherits it.
    """
    policy = os.environ.get("OMP_WAIT_POLICY")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        import torch
    finally:
        if policy is None:
            del os.environ["OMP_WAIT_POLICY"]
    torch.set_num_threads(threads or usable_cpus())


def cpu_flags() -> frozenset[str]:
    """The CPU's instruction sets by the kernel's names (``avx512_vnni``); empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":")[1].split() for line in lines if line.startswith("flags")), []))


def has_fast_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is faster than fp32 on ``device`` (AMX or AVX512-BF16 on CPUs)."""
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return not cpu_flags().isdisjoint(("amx_bf16", "avx512_bf16"))
