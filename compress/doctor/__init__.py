"""The command doctor: what this machine and a model can do, and what to fix; works in the base install."""

from compress.doctor.examine import examine
from compress.doctor.speed import Finding

__all__ = ["Finding", "examine"]
