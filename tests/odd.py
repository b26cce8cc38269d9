"""What the tables of odd inputs share: how a refusal is judged."""

from collections.abc import Sequence


def refusal(error: Exception, words: Sequence[str]) -> str:
    """``refused`` for a message of one line with all its ``words``; else what is wrong, also where none was wanted."""
    message = str(error)
    if words and "\n" not in message and all(word in message for word in words):
        return "refused"
    return f"refused without its words: {message}"
