"""Every setting of every step, declared once.

The Python keyword, the command-line flag, the recipe key, the JSON Schema and the help text all come from the fields;
pydantic parses and checks the values wherever they come from, so an error reads the same everywhere.
"""

from compress.config.bench import BenchConfig
from compress.config.data import DataConfig
from compress.config.distillation import DistillationConfig, DistillConfig
from compress.config.export import ExportConfig, QuantizeConfig
from compress.config.pruning import PruneConfig
from compress.config.settings import Effect, LayerChoice, Names, Settings, explain
from compress.config.training import FinetuneConfig, ThreadsConfig, TrainingConfig

__all__ = [
    "BenchConfig",
    "DataConfig",
    "DistillConfig",
    "DistillationConfig",
    "Effect",
    "ExportConfig",
    "FinetuneConfig",
    "LayerChoice",
    "Names",
    "PruneConfig",
    "QuantizeConfig",
    "Settings",
    "ThreadsConfig",
    "TrainingConfig",
    "explain",
]
