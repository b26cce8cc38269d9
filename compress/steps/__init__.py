"""The steps as functions: read a folder, do the work, write a folder. The thin edge around each room's core."""

from compress.steps.benching import bench
from compress.steps.exporting import export, quantize
from compress.steps.pruning import prune
from compress.steps.training import distill, finetune

__all__ = ["bench", "distill", "export", "finetune", "prune", "quantize"]
