"""Classifiers in PyTorch: loading, saving, and the class whose layers may differ in width."""
