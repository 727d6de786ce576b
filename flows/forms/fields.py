"""Fields that the parameter forms of several flows have, checked by the parsers of `oci`."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from catalog.filters.pick import Pick
from catalog.filters.tags import parse_pattern
from flows.forms.parameters import Metavar
from oci.errors import EntrepotError
from oci.platform import Platform
from oci.reference import parse_name, parse_tag

_T = TypeVar("_T")


def explained(parse: Callable[[str], _T], text: str) -> _T:
    """Run a parser of ours; pydantic wants a ValueError."""
    try:
        return parse(text)
    except EntrepotError as error:
        raise ValueError(error.message) from None


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Check a text by a parser, and keep the text."""

    def check(text: str) -> str:
        explained(parse, text)
        return text

    return check


Pattern = Annotated[
    str, Field(min_length=1, max_length=200), AfterValidator(checked(parse_pattern)), Metavar("PATTERN")
]
"""A pattern of tags, in the language of catalog/filters/tags.py."""

TagName = Annotated[str, AfterValidator(checked(parse_tag)), Metavar("TAG")]
"""A tag, as the distribution-spec wants it."""

PickText = Annotated[str, AfterValidator(checked(Pick.parse)), Metavar("SOURCE")]
"""`NAME`, `NAME:TAG`, `NAME@DIGEST` or `NAME:TAG@DIGEST` of a repository here."""

LabelText = Annotated[str, Field(pattern=r"^[^=\s]+(=.*)?$", max_length=300), Metavar("KEY[=VALUE]")]
"""A label that something must have, `KEY` or `KEY=VALUE`."""

CompanionText = Annotated[str, Field(min_length=1, max_length=200), Metavar("TYPE")]
"""A word or glob of catalog/filters/companions.py."""

PlatformText = Annotated[str, AfterValidator(checked(Platform.parse)), Metavar("OS/ARCH")]
"""`os/architecture[/variant]`."""

RepositoryName = Annotated[str, AfterValidator(checked(parse_name)), Metavar("NAME")]
"""The name of a repository, as the distribution-spec wants it."""
