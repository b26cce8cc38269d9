"""doctor: what this machine and a model can do, and what to fix. Works in the base install."""

from compress.doctor.examine import examine
from compress.doctor.finding import Finding

__all__ = ["Finding", "examine"]
