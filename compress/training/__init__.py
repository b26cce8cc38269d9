"""Training: the loop, its batches and checkpoints, and the step that is training alone (finetune)."""
