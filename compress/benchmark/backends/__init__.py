"""Ways to run a model that only the benchmark needs, each behind the predictor interface."""
