"""The energy that CPUs and a GPU use, where their counters may be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter of used energy in microjoules, which only rises."""

    read_uj: Callable[[], int]  # counts since some time in the past; raises OSError where it may not be read
    wraps_at_uj: int = 0  # where it starts again from 0; 0: never


class EnergyMeter:
    """Adds up the joules that the counted devices use inside ``with`` blocks, whichever process runs on them."""

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._before_uj: list[int] = []
        self.joules: float | None = 0.0 if counters else None  # None once a counter could not be read

    @classmethod
    def of(cls, *, gpu: bool) -> "EnergyMeter":
        """A meter of all CPU packages and, with ``gpu``, of PyTorch's first GPU where it has a counter."""
        return cls(cpu_counters() + (gpu_counters() if gpu else []))

    def __enter__(self) -> None:
        self._before_uj = self._read()

    def __exit__(self, *_: object) -> None:
        after_uj = self._read()
        if self.joules is not None:  # then every counter could be read, before and after
            for counter, before, after in zip(self._counters, self._before_uj, after_uj, strict=True):
                self.joules += (after - before + (counter.wraps_at_uj if after < before else 0)) / 1e6

    def _read(self) -> list[int]:
        """The value of every counter; empty where one cannot be read."""
        try:
            return [counter.read_uj() for counter in self._counters]
        except OSError:
            self.joules = None
            return []


def cpu_counters(powercap: Path = Path("/sys/class/powercap")) -> list[Counter]:
    """The CPU packages' RAPL counters; empty where only root may read them, as since 2020 (CVE-2020-8694)."""
    # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that the package's own counter includes.
    packages = sorted(powercap.glob("intel-rapl:[0-9]"))
    try:
        for package in packages:
            _read_number(package / "energy_uj")
        return [
            Counter(partial(_read_number, package / "energy_uj"), _read_number(package / "max_energy_range_uj"))
            for package in packages
        ]
    except OSError:
        return []


def gpu_counters() -> list[Counter]:
    """NVML's counter of PyTorch's first GPU, which GPUs since Volta have; empty without ``nvidia-ml-py``."""
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
    return [Counter(lambda: 1000 * int(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)))]  # NVML counts millijoules


def _read_number(file: Path) -> int:
    return int(file.read_text())
