"""Structured pruning: what matters, what to remove, how to remove it, and training to recover."""
