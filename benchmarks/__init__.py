"""What backs each claim in the README."""
