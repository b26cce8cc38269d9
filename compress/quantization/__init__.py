"""The int8 rewrites, and the gate that refuses what loses too much."""
