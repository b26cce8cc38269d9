"""A teacher's answers on disk, for every run, student and process that asks again."""
