"""The command line: it parses arguments, calls a function and prints the result."""
