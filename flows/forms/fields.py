"""Types of fields that the forms of several flows have, checked by our parsers; each knows the word for its value in help."""

from typing import Annotated

from pydantic import AfterValidator, Field, PlainSerializer

from catalog import unit_fields
from catalog.filters import conditions, tags
from catalog.filters.selector import Selector
from catalog.parsed_text import checked
from catalog.path_patterns import PathPattern
from flows.forms import shapes
from flows.forms.parameters import Metavar
from flows.forms.shapes import Shape
from oci.platform import Platform
from oci.reference import parse_name, parse_tag

TagPatternField = Annotated[tags.TagPattern, Shape(r"^\S+( .*)?$", ("v*", "semver:>=1.4 <2")), Metavar("PATTERN")]
"""A pattern of tags, in the language of catalog/filters/tags.py."""

PathPatternField = Annotated[PathPattern, Metavar("PATTERN")]
"""A pattern of paths, in the language of catalog/path_patterns.py."""

PairField = Annotated[
    conditions.PairText,
    Shape(r"^(![^=!\s]+|[^=!\s]+(!?=.*)?)$", ("org.opencontainers.image.vendor=Example*",)),
    Metavar("KEY[=VALUE]"),
]
"""`KEY`, `KEY=GLOB`, `!KEY` or `KEY!=GLOB`."""

TypeField = Annotated[conditions.TypeText, Shape(shapes.TYPE, ("image",)), Metavar("TYPE")]
"""A kind, or a glob of kinds and artifact types; or either after `!`."""

AgeField = Annotated[unit_fields.Age, Shape(shapes.AGE), Metavar("AGE")]
"""An age or a date; empty: none is asked for."""

DurationField = Annotated[unit_fields.Duration, Shape(shapes.DURATION), Metavar("DURATION")]
"""A duration such as `12h` or `30d`; `0`: none."""

SizeField = Annotated[
    unit_fields.Size,
    PlainSerializer(str, return_type=str, when_used="json"),
    Metavar("SIZE", is_text=True),
]
"""A number of bytes, also as `50MB`."""

TagName = Annotated[str, AfterValidator(checked(parse_tag)), Shape(shapes.TAG, ("v1.4",)), Metavar("TAG")]
"""A tag, as the distribution-spec wants it."""

SelectorText = Annotated[
    str, AfterValidator(checked(Selector.parse)), Shape(shapes.CONTENT, ("team/app:v1.4",)), Metavar("SOURCE")
]
"""`NAME`, `NAME:TAG`, `NAME@DIGEST` or `NAME:TAG@DIGEST` of a repository here."""

LabelText = Annotated[
    str, Field(pattern=r"^[^=\s]+(=.*)?$", max_length=300), Shape("", ("tier=prod",)), Metavar("KEY[=VALUE]")
]
"""A label that something must have, `KEY` or `KEY=VALUE`."""

CompanionText = Annotated[str, Field(min_length=1, max_length=200), Shape("", ("signature",)), Metavar("TYPE")]
"""A word or glob of catalog/filters/companions.py."""

PlatformText = Annotated[
    str, AfterValidator(checked(Platform.parse)), Shape(shapes.PLATFORM, ("linux/amd64",)), Metavar("OS/ARCH")
]
"""`os/architecture[/variant]`."""

RepositoryName = Annotated[str, AfterValidator(checked(parse_name)), Shape(shapes.NAME, ("team/app",)), Metavar("NAME")]
"""The name of a repository, as the distribution-spec wants it."""
