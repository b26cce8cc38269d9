"""Other tools beside ours, each in an environment of its own: ``python -m benchmarks.peers TEACHER DATA --ours DIR``."""
