"""Fields of pydantic models whose text one of our parsers reads."""

from collections.abc import Callable
from typing import TypeVar

from oci.errors import EntrepotError

_T = TypeVar("_T")


def explained(parse: Callable[[str], _T], text: str) -> _T:
    """Return what `parse` makes of a text; raise ValueError, which pydantic reports, where it raises EntrepotError."""
    try:
        return parse(text)
    except EntrepotError as error:
        raise ValueError(error.message) from None


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a validator that runs `parse` and keeps the text."""

    def check(text: str) -> str:
        explained(parse, text)
        return text

    return check
