"""Accuracy, latency and size of model folders, side by side, and the report that shows them."""
