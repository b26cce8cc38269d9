"""Worker processes for everything that is timed: how they are started, asked and ended, and how calls are timed."""
