"""A file of texts, answered: the same file with new columns, in constant memory, going on after a kill."""
