"""What runs a model: a backend a file."""
