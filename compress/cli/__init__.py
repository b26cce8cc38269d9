"""The command line: parses arguments, calls a function and prints the result."""
