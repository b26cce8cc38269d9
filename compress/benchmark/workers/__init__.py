"""A model in a process of its own, and its parent's side."""
