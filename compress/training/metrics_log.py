"""The training's diary: ``metrics.jsonl`` in the step's folder, and a tracker where one is wanted."""

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from compress.config import TrainingConfig

METRICS = "metrics.jsonl"

Record = dict[str, float]


class MetricsLog:
    """Losses, rates and metrics by step. No times: equal trainings leave equal files.

    Args:
        folder: gets ``metrics.jsonl``, and the tracker's files where it writes some.
        config: its ``track`` names the tracker; its settings are shown there.
        accelerator: only its main process writes.
    """

    def __init__(self, folder: Path, config: TrainingConfig, accelerator: Accelerator) -> None:
        self.records: list[Record] = []
        self._accelerator = accelerator
        self._file = folder / METRICS if accelerator.is_main_process else None
        if config.track is not None:
            accelerator.init_trackers("compress", config=_flat(config.model_dump(mode="json")))

    def write(self, step: int, values: dict[str, float]) -> None:
        """One line."""
        record = {"step": step, **values}
        self.records.append(record)
        self._append([record])
        self._accelerator.log(values, step=step)

    def load(self, records: list[Record]) -> None:
        """Go on from a checkpoint's records."""
        self.records = records
        self._append(records)
        for record in records:  # what the killed process sent may be lost with it
            self._accelerator.log(
                {name: value for name, value in record.items() if name != "step"}, step=int(record["step"])
            )

    def close(self) -> None:
        """Let the tracker finish."""
        for tracker in self._accelerator.trackers:
            tracker.finish()

    def _append(self, records: list[Record]) -> None:
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(record) + "\n" for record in records)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: no lists, nothing absent."""
    flat = {name: ",".join(map(str, value)) if isinstance(value, list) else value for name, value in settings.items()}
    return {name: value for name, value in flat.items() if value is not None}
