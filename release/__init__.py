"""What a release is made with; the Makefile's targets ``lock``, ``dist`` and ``audit`` use it."""
