"""Training: the loop, its batches and checkpoints, and finetune, which trains on labels alone."""
