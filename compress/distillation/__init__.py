"""Distillation: students, what they learn from a teacher, and the store of its answers."""
