"""The models that the repository publishes: see ``python -m benchmarks.models --help``."""
