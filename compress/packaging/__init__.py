"""The files around a graph: folder layouts, model card, single file, servers."""
