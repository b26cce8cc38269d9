"""Metrics and their intervals, of one model and of two compared; used by bench, quantize and training alike."""
