"""Energy from the counters of the CPU packages (RAPL) and of the GPU (NVML), where the machine lets this process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Counter:
    """One that only rises.

    Attributes:
        read_uj: microjoules since some time in the past; raises OSError where it may not be read.
        wraps_at_uj: where it starts again from 0; 0: never.
    """

    read_uj: Callable[[], int]
    wraps_at_uj: int = 0


class EnergyMeter:
    """Joules that were used between readings by all that the counters count, whoever ran there."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._before_uj: list[int] = []

    @classmethod
    def of(cls, device: str) -> "EnergyMeter":
        """All CPU packages, and on ``cuda`` the GPU that PyTorch calls its first."""
        return cls(cpu_counters() + (gpu_counters() if device == "cuda" else []))

    def start(self) -> None:
        """Take the reading that :meth:`joules` counts from."""
        self._before_uj = self._read()

    def joules(self) -> float | None:
        """Joules since :meth:`start`; None without counters that may all be read."""
        now_uj = self._read()
        if not now_uj or len(now_uj) != len(self._before_uj):
            return None
        used_uj = 0
        for counter, before, now in zip(self._counters, self._before_uj, now_uj, strict=True):
            used_uj += now - before + (counter.wraps_at_uj if now < before else 0)
        return used_uj / 1e6

    def _read(self) -> list[int]:
        try:
            return [counter.read_uj() for counter in self._counters]
        except OSError:
            return []


def cpu_counters(powercap: Path = _POWERCAP) -> list[Counter]:
    """Those of the packages that this process may read; since 2020 kernels keep them for root (CVE-2020-8694).

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
    """That of PyTorch's first GPU, which Volta and newer ones keep; none without one, or without ``nvidia-ml-py``."""
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
