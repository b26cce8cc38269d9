"""A PyTorch classifier with the interface of all predictors."""

from contextlib import nullcontext

import torch
from torch import nn

from compress.families import family_of
from compress.modeling.checkpoint import Checkpoint
from compress.runtime.encoding import Feeds
from compress.runtime.predictor import BATCH_TOKENS, Logits


class TorchPredictor:
    """Runs a checkpoint in PyTorch eager mode, on ``cpu`` or ``cuda``; ``bf16`` runs under autocast."""

    batch_tokens = BATCH_TOKENS

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", precision: str = "fp32") -> None:
        self.task = checkpoint.task
        self.labels = checkpoint.labels
        self.encoder = checkpoint.encoder
        self.precision = precision
        self._device = device
        self._inputs = family_of(checkpoint.model.config).inputs
        self.model: nn.Module = nn.Module.to(checkpoint.model, device)

    def run(self, feeds: Feeds) -> Logits:
        """Logits, float32 ``[batch, labels]``."""
        self.model.eval()
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self._device, torch.bfloat16) if bf16 else nullcontext():
            tensors = {name: torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs}
            logits: Logits = self.model(**tensors).logits.float().cpu().numpy()
        return logits
