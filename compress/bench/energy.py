"""Energy from the counters of the CPU packages (RAPL), where the machine lets this process read them."""

from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules that all CPU packages used between readings; the counters count everything that runs on them.

    Args:
        powercap: Where Linux shows the counters.
    """

    def __init__(self, powercap: Path = _POWERCAP) -> None:
        # intel-rapl:0 is a package, intel-rapl:0:1 a part of it that the package's own counter includes.
        self._packages = sorted(powercap.glob("intel-rapl:[0-9]"))
        self._before_uj: list[int] = []

    def start(self) -> None:
        """Take the reading that :meth:`joules` counts from."""
        self._before_uj = self._read()

    def joules(self) -> float | None:
        """Joules since :meth:`start`; None without a counter that may be read."""
        now_uj = self._read()
        if not now_uj or len(now_uj) != len(self._before_uj):
            return None
        used_uj = 0
        for package, before, now in zip(self._packages, self._before_uj, now_uj, strict=True):
            wraps = int((package / "max_energy_range_uj").read_text()) if now < before else 0
            used_uj += now - before + wraps
        return used_uj / 1e6

    def _read(self) -> list[int]:
        try:
            return [int((package / "energy_uj").read_text()) for package in self._packages]
        except OSError:  # since 2020 kernels keep them for root (CVE-2020-8694)
            return []
