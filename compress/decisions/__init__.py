"""Decisions on top of scores: when a model may take the place of another, and when a score is enough to answer."""
