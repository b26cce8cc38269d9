"""The backends that run a model, one file each."""
