"""The tokenizer as nodes of a graph."""
