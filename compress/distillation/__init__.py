"""Distillation: students, the losses by which they learn from a teacher, and the cache of the teacher's states."""
