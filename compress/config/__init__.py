"""Every setting of every step, declared once.

The Python keyword, the command-line flag, the recipe key, the JSON Schema and the help text all come from the fields;
pydantic parses and checks the values wherever they come from, so an error reads the same everywhere.
"""

from compress.config.auto import AutoConfig
from compress.config.decisions import CalibrateConfig, CascadeConfig, CheckConfig
from compress.config.deployment import BenchConfig, ExportConfig, QuantizeConfig
from compress.config.pruning import PruneConfig
from compress.config.settings import DataConfig, Effect, Names, Settings, ThreadsConfig, explain
from compress.config.training import DistillationConfig, DistillConfig, FinetuneConfig, LongTextsConfig, TrainingConfig

__all__ = [
    "AutoConfig",
    "BenchConfig",
    "CalibrateConfig",
    "CascadeConfig",
    "CheckConfig",
    "DataConfig",
    "DistillConfig",
    "DistillationConfig",
    "Effect",
    "ExportConfig",
    "FinetuneConfig",
    "LongTextsConfig",
    "Names",
    "PruneConfig",
    "QuantizeConfig",
    "Settings",
    "ThreadsConfig",
    "TrainingConfig",
    "explain",
]
