"""The one exception that every foreseeable failure raises."""


class CompressError(Exception):
    """A failure that the user can mend.

    The message is one line: what was given, where, what is allowed and what to do. The command line prints it
    without a traceback and exits with status 2. Line breaks, as in a column's name, become blanks.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(" ".join(message.splitlines()))


class TextError(CompressError, TypeError):
    """A classifier was given something that is not a text; the message names its position."""


class UnreadableTextError(CompressError, ValueError):
    """A classifier was given a text that is not Unicode; the message names its position."""
