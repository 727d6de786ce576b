"""Fields of pydantic models: text that one of our parsers reads, and what pydantic found wrong with them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

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


def text_of_path(value: object) -> object:
    """Return a path as its text, for a field that takes a URI as well; anything else as it is."""
    return str(value) if isinstance(value, Path) else value


def describe_faults(error: ValueError) -> str:
    """Return what pydantic found wrong, without the values."""
    faults: Sequence[Any] = getattr(error, "errors", lambda **_: ())(include_input=False, include_url=False)
    texts = (f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}" for one in faults)
    return "; ".join(text.removeprefix(": ") for text in texts) or str(error)
