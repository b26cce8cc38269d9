"""What a model uses besides time: its process's peak memory, and energy where the machine's counters may be read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of energy, which only rises.

    Attributes:
        read_uj: microjoules since some time in the past; raises OSError where it may not be read.
        wraps_at_uj: where it starts again from 0; 0: never.
    """

    read_uj: Callable[[], int]
    wraps_at_uj: int = 0


class EnergyMeter:
    """Adds up the joules that were used inside ``with`` by all that the counters count, whichever process ran there."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._before_uj: list[int] = []
        self.joules: float | None = 0.0 if counters else None  # None once a counter could not be read

    @classmethod
    def of(cls, device: str) -> "EnergyMeter":
        """All CPU packages, and on ``cuda`` the GPU that PyTorch calls its first."""
        return cls(cpu_counters() + (gpu_counters() if device == "cuda" else []))

    def __enter__(self) -> None:
        self._before_uj = self._read()

    def __exit__(self, *_: object) -> None:
        now_uj = self._read()
        if self.joules is None or len(now_uj) != len(self._before_uj):
            self.joules = None
            return
        for counter, before, now in zip(self._counters, self._before_uj, now_uj, strict=True):
            self.joules += (now - before + (counter.wraps_at_uj if now < before else 0)) / 1e6

    def _read(self) -> list[int]:
        """Every counter; empty where one cannot be read."""
        try:
            return [counter.read_uj() for counter in self._counters]
        except OSError:
            self.joules = None
            return []


def cpu_counters(powercap: Path = _POWERCAP) -> list[Counter]:
    """RAPL counters of the packages that this process may read; since 2020 kernels keep them for root (CVE-2020-8694).

    Args:
        powercap: where Linux shows the counters.
    """
    # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that the package's own counter includes.
    packages = sorted(powercap.glob("intel-rapl:[0-9]"))
    try:
        for package in packages:
            _number(package / "energy_uj")
        return [
            Counter(lambda file=package / "energy_uj": _number(file), _number(package / "max_energy_range_uj"))  # type: ignore[misc]
            for package in packages
        ]
    except OSError:
        return []


def gpu_counters() -> list[Counter]:
    """NVML's counter of PyTorch's first GPU, which Volta and newer ones keep; none without ``nvidia-ml-py``."""
    try:
        import pynvml
    except ImportError:
        return []
    import torch

    if not torch.cuda.is_available():
        return []
    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    except pynvml.NVMLError:
        return []
    return [Counter(lambda: 1000 * int(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)))]  # it counts millijoules


def _number(file: Path) -> int:
    return int(file.read_text())


def peak_memory_bytes() -> int | None:
    """The most memory that this process held; ``ru_maxrss`` would include what the parent held before the fork."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return 1024 * int(found[1]) if found else None


def gpu_memory_bytes() -> int:
    """The most that PyTorch's tensors held on the GPU."""
    import torch

    return torch.cuda.max_memory_allocated()
