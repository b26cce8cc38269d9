"""Tests of the distillation room."""
