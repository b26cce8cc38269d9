"""Structured pruning: what matters, what to remove for a share or a latency, the cut, and the training to recover."""
