"""Fields that the parameter forms of several flows have, checked by the parsers of `oci`."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from catalog.filters.tags import parse_pattern
from oci.errors import EntrepotError
from oci.platform import Platform
from oci.reference import parse_name

_T = TypeVar("_T")


def explained(parse: Callable[[str], _T], text: str) -> _T:
    """Run a parser of ours; pydantic wants a ValueError."""
    try:
        return parse(text)
    except EntrepotError as error:
        raise ValueError(error.message) from None


PATTERNS = (
    "A pattern is a glob (`v1.*`), `re:` and a regular expression, or `semver:` and a range (`semver:>=1.2 <2`). A digest takes "
    "that manifest, without a tag."
)
NEWEST_OF = "Of what the newest are counted: of the `repository`, of each `major` version, or of each `minor` one (1.2, 1.3, …)."


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Check a text by a parser, and keep the text."""

    def check(text: str) -> str:
        explained(parse, text)
        return text

    return check


Pattern = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(checked(parse_pattern))]
"""A pattern of tags, in the language of catalog/filters/tags.py."""

LabelText = Annotated[str, Field(pattern=r"^[^=\s]+(=.*)?$", max_length=300)]
"""A label that something must have, `KEY` or `KEY=VALUE`."""

CompanionText = Annotated[str, Field(min_length=1, max_length=200)]
"""A word or glob of catalog/filters/companions.py."""

COMPANIONS = (
    "What comes along of that which belongs to images without being in them: `signature`, `attestation`, `sbom`, or globs of "
    "artifact types; none: nothing does."
)

PlatformText = Annotated[str, AfterValidator(checked(Platform.parse))]
"""`os/architecture[/variant]`."""

RepositoryName = Annotated[str, AfterValidator(checked(parse_name))]
"""The name of a repository, as the distribution-spec wants it."""
