"""Tokenizers by kind: how each is described, and how it loses tokens."""
