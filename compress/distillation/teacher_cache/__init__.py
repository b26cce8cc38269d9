"""The teacher's states on disk, computed once for every later run, student and process."""
