"""Fields that the parameter forms of several flows have, checked by the parsers of `oci`."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from oci.errors import EntrepotError
from oci.reference import parse_name

_T = TypeVar("_T")

Glob = Annotated[str, Field(min_length=1, max_length=200)]


def explained(parse: Callable[[str], _T], text: str) -> _T:
    """Run a parser of ours; pydantic wants a ValueError."""
    try:
        return parse(text)
    except EntrepotError as error:
        raise ValueError(error.message) from None


RepositoryName = Annotated[str, AfterValidator(lambda text: explained(parse_name, text))]
"""The name of a repository, as the distribution-spec wants it."""
