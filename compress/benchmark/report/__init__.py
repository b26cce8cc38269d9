"""The report: page, Markdown, charts, recommendation."""
