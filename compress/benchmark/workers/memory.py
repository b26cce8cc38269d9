"""Memory: how much a worker held, and what running out of it looks like."""

import re
from contextlib import suppress
from pathlib import Path

_SELF = Path("/proc/self")
# torch's on a CPU and onnxruntime's have no class of their own.
_MESSAGES = ("can't allocate memory", "failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


def peak_memory_bytes() -> int | None:
    """The most memory that this process held; ``ru_maxrss`` would include what the parent held before the fork."""
    try:
        told = (_SELF / "status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", told, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def gpu_memory_bytes() -> int:
    """The most that PyTorch's tensors held on the GPU."""
    import torch

    return torch.cuda.max_memory_allocated()


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory, a GPU's included, was what lacked."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return True
    return any(message in str(error).lower() for message in _MESSAGES)


def ask_to_be_killed_first() -> None:
    """Where memory runs out for good, Linux ends a process of its choice: let it be this one."""
    with suppress(OSError):  # another system
        (_SELF / "oom_score_adj").write_text("1000", encoding="ascii")
