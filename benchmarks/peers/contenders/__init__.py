"""One file a peer: ``make(teacher, data, out)`` leaves a model; ``load(out, threads)`` is from text to label.

They run in the environments of environments.py, which have no compress; ``shared.py`` holds what several need.
"""
