"""What an encoder family is, in a table a file; the only room that knows the names of transformers' modules."""
