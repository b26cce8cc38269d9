"""The training's log: ``metrics.jsonl`` in the step's folder, and a tracker if the settings name one."""

import json
from typing import Any

from accelerate import Accelerator

from compress.config import TrainingConfig
from compress.training.checkpointing import RunFiles

METRICS = "metrics.jsonl"

Record = dict[str, float]


class MetricsLog:
    """Losses, learning rates and metrics by step. It holds no times: equal trainings write equal files.

    Args:
        run_files: the folder that gets ``metrics.jsonl``, and the step number to count on from.
        config: its ``track`` names the tracker, which is shown all settings.
        accelerator: only its main process writes.
    """

    def __init__(self, run_files: RunFiles, config: TrainingConfig, accelerator: Accelerator) -> None:
        self.records: list[Record] = []
        self._steps_before = run_files.steps_before
        self._accelerator = accelerator
        self._file = run_files.folder / METRICS if accelerator.is_main_process else None
        if config.track is not None:
            accelerator.init_trackers("compress", config=_flat(config.model_dump(mode="json")))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Log ``values`` of step ``step`` of this training."""
        self._log([{"step": self._steps_before + step, **values}])

    def load(self, records: list[Record]) -> None:
        """Log a checkpoint's records again: what the killed process wrote may be lost with it."""
        self._log(records)

    def close(self) -> None:
        """Let the tracker finish."""
        for tracker in self._accelerator.trackers:
            tracker.finish()

    def _log(self, records: list[Record]) -> None:
        self.records += records
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)
        for record in records:
            values = {name: value for name, value in record.items() if name != "step"}
            self._accelerator.log(values, step=int(record["step"]))


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: lists become text, and None is left out."""
    flat = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    return {name: value for name, value in flat.items() if value is not None}
