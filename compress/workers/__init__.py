"""Processes of their own for what is timed: how one is started, asked and ended, and how its calls are timed."""
