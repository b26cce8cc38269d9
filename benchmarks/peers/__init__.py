"""Other tools beside ours, each in its own environment: ``python -m benchmarks.peers TEACHER DATA --ours DIR``."""
