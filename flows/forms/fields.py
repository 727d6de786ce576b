"""Fields that the parameter forms of several flows have, checked by the parsers of `oci`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from catalog.parsed_text import checked
from oci.platform import Platform
from oci.reference import parse_name

PATTERNS = (
    "A pattern is a glob (`v1.*`), `re:` and a regular expression, or `semver:` and a range (`semver:>=1.2 <2`). A digest takes "
    "that manifest, without a tag."
)
PATH_PATTERNS = (
    "A pattern is a path (`team/app`), `team/*` (one part below team), `team/**` (team and all below it), or `re:` and a regular "
    "expression."
)
NEWEST_OF = "Of what the newest are counted: of the `repository`, of each `major` version, or of each `minor` one (1.2, 1.3, …)."


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
