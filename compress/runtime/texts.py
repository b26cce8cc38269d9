"""What a classifier is given, checked item by item: a wrong one is refused by its position, none is dropped."""

from collections.abc import Iterable, Iterator

from compress.errors import TextError, UnreadableTextError
from compress.runtime.encoding import Text, TextEncoder


def is_one(texts: object, *, pairs: bool) -> bool:
    """Whether this is one text (for tasks on pairs: one tuple of two texts) rather than many."""
    return is_pair(texts) and isinstance(texts, tuple) if pairs else isinstance(texts, str)


def is_pair(item: object) -> bool:
    """Whether this is two texts in a tuple or a list."""
    return isinstance(item, tuple | list) and len(item) == 2 and all(isinstance(text, str) for text in item)


def checked(texts: Iterable[Text], encoder: TextEncoder, *, pairs: bool) -> Iterator[Text]:
    """Each item, once it is known to be a text or a pair; characters that the model cannot see are cut off.

    Raises:
        TextError: not an iterable of texts (or pairs); names the position of the item.
        UnreadableTextError: a text has a lone surrogate; names the position.
    """
    wanted = "a pair of texts" if pairs else "a text"
    if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
        raise TextError(f"texts must be {wanted} or an iterable of them, got {texts!r:.60}")
    for position, item in enumerate(texts):
        if not (is_pair(item) if pairs else isinstance(item, str)):
            raise TextError(f"texts[{position}] must be {wanted if pairs else 'a str'}, got {item!r:.60}")
        text = encoder.cut((item[0], item[1]) if pairs else item)
        for part in (text,) if isinstance(text, str) else text:
            _check_unicode(part, position)
        yield text


def _check_unicode(text: str, position: int) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnreadableTextError(
            f"texts[{position}] has a lone surrogate ({text[error.start]!a}) at character {error.start}, which is no "
            "character; replace it, for example by text.encode('utf-8', 'replace').decode()"
        ) from None
