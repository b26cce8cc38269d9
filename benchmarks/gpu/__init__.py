"""What compressed models gain on a GPU, in one command: ``python -m benchmarks.gpu``."""
