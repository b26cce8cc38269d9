"""The steps as functions: read folders, do the work, write a folder. ``spec`` declares them."""
