"""Answers for a whole file: a copy of it with new columns, in constant memory, which goes on after a kill."""
