"""The memory of a process while it works, and how fast it grows."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from scipy.stats import theilslopes

_WARM_UP = 0.2  # of the samples: buffers are still made then
_MOST = 400  # samples in a fit, which looks at all pairs


@dataclass
class Memory:
    """Samples of what a process holds of its own (``RssAnon``), each after some amount of work."""

    pid: int
    samples: list[tuple[float, int]] = field(default_factory=list)

    def sample(self, work: float) -> None:
        """Note what it holds now."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        self.samples.append((work, 1024 * int(re.findall(r"RssAnon:\s+(\d+)", status)[0])))

    def growth(self) -> dict[str, float]:
        """Bytes held at the start and the end, and for each unit of work (Theil and Sen, 1968), with its interval."""
        settled = self.samples[int(_WARM_UP * len(self.samples)) :]
        work, held = zip(*settled[:: -(-len(settled) // _MOST)], strict=True)
        slope, _, low, high = theilslopes(held, work, 0.95)
        return {
            "first_bytes": self.samples[0][1],
            "last_bytes": self.samples[-1][1],
            "slope_bytes": float(slope),
            "slope_low_bytes": float(low),
            "slope_high_bytes": float(high),
        }
