"""Validation: keeps the best weights and says when to stop."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from compress.config import TrainingConfig
from compress.errors import CompressError
from compress.evaluation.metrics import choose_metric, positive_column, score
from compress.modeling.checkpoint import Checkpoint
from compress.modeling.torch_predictor import TorchPredictor
from compress.runtime.predictor import Logits, encoded_logits
from compress.training.batches import Examples

Divergence = Callable[[Logits], float]
"""How far a student's logits of the validation texts, ``[n, labels]``, are from the teacher's; less is better."""

DIVERGENCE = "divergence"
"""The name of a :data:`Divergence` in metrics."""


@dataclass
class TrainingResult:
    """The result of a training: how good the kept weights are on the validation texts, and how it got there.

    The kept weights are those with the least divergence, or the highest metric, as ``judged_by`` says; of equal ones
    the latest. ``curve`` has an entry for each validation: step, mean training loss since the last validation, metric,
    and the divergence if that judges.
    """

    metric: str
    judged_by: str
    best: float = -math.inf  # the metric of the kept weights
    best_step: int = 0
    steps: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    # Settings whose values may depend on the model or the machine.
    trained_with: dict[str, Any] = field(default_factory=dict)

    def after(self, earlier: "TrainingResult") -> "TrainingResult":
        """The same result with steps counted on from those of ``earlier``, whose curve comes first."""
        before = earlier.steps
        curve = [*earlier.curve, *({**point, "step": before + point["step"]} for point in self.curve)]
        return replace(self, best_step=before + self.best_step, steps=before + self.steps, curve=curve)

    def as_metrics(self) -> dict[str, Any]:
        """The result as the model's history has it."""
        best = {f"validation_{self.metric}": self.best, "best_step": self.best_step, "judged_by": self.judged_by}
        return {**best, "steps": self.steps, "curve": self.curve, "trained_with": self.trained_with}


class Validator:
    """Measures the model on the validation texts, of which each process reads its share."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        validation_set: Examples,
        config: TrainingConfig,
        accelerator: Accelerator,
        precision: str,
        divergence: Divergence | None,
    ) -> None:
        metric = choose_metric(config.metric, checkpoint.task, len(checkpoint.labels))
        self.result = TrainingResult(metric, DIVERGENCE if divergence else metric)
        self._divergence = divergence
        self._model = checkpoint.model
        self._examples = validation_set
        self._positive = positive_column(checkpoint.labels)
        self._patience = config.patience
        self._processes, self._process = accelerator.num_processes, accelerator.process_index
        self._predictor = TorchPredictor(checkpoint, accelerator.device.type, precision)
        self._best_weights: dict[str, torch.Tensor] = {}
        self._best_rank = -math.inf
        self._waited = 0

    def validate(self, step: int, mean_loss: float) -> dict[str, float]:
        """The metric after ``step`` steps, and the divergence if that judges; the best weights so far are kept."""
        logits = self._logits()
        if not np.isfinite(logits).all():  # the loss is computed before the step, so it cannot show what that broke
            raise CompressError(
                f"training: the model's logits are not finite numbers after step {step}; "
                "no model was written, try a lower --learning-rate or --precision fp32"
            )
        self._model.train()
        result = self.result
        scores = {result.metric: score(result.metric, logits, self._examples.targets, positive=self._positive)}
        if self._divergence is not None:
            scores[DIVERGENCE] = self._divergence(logits)
        result.steps = step
        result.curve.append({"step": step, "loss": mean_loss, **scores})
        rank = scores[result.judged_by] * (1 if self._divergence is None else -1)
        # Of equally good weights the later are kept, as lower rates have led to them; but only a gain resets patience.
        self._waited = 0 if rank > self._best_rank else self._waited + 1
        if rank >= self._best_rank:
            self._best_rank = rank
            result.best, result.best_step = scores[result.metric], step
            self._best_weights = {name: weight.detach().clone() for name, weight in self._trained()}
        return scores

    @property
    def note(self) -> str:
        """The latest metric, and the divergence where that judges, for the progress bar."""
        names = dict.fromkeys((self.result.metric, self.result.judged_by))
        return "".join(f", {name} {point[name]:.3f}" for point in self.result.curve[-1:] for name in names)

    @property
    def out_of_patience(self) -> bool:
        """Whether the last ``patience`` validations were no better than the best."""
        return self._waited >= self._patience

    def restore_best(self) -> None:
        """Put the best weights back into the model, on the CPU."""
        with torch.no_grad():
            for name, weight in self._trained():
                weight.copy_(self._best_weights[name])
        self._model.cpu()

    def state(self) -> dict[str, Any]:
        """The result so far and the best weights, for a checkpoint."""
        progress = {"result": asdict(self.result), "rank": self._best_rank, "waited": self._waited}
        return progress | {"best": self._best_weights}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.result = TrainingResult(**state["result"])
        self._best_rank, self._waited = state["rank"], state["waited"]
        device = next(self._model.parameters()).device
        self._best_weights = {name: weight.to(device) for name, weight in state["best"].items()}

    def _trained(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, weight) for name, weight in self._model.named_parameters() if weight.requires_grad]

    def _logits(self) -> Logits:
        encodings = self._examples.encodings
        own = range(self._process, len(encodings), self._processes)
        own_logits = list(encoded_logits(self._predictor, [encodings[row] for row in own]))
        shares = gather_object([own_logits])  # one list from each process
        whole = np.empty((len(encodings), len(self._predictor.labels)), dtype=np.float32)
        for process, share in enumerate(shares):
            if share:
                whole[process :: self._processes] = np.stack(share)
        return whole
