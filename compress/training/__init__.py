"""Training: the loop, its batches and losses, and the two steps that are training alone (finetune, distill)."""
