"""What is selected from a repository: a tag, a digest, or what a filter selects."""

from dataclasses import dataclass
from typing import Self

from catalog.filters.filter import Filter
from oci.digest import Digest
from oci.reference import ContentReference, parse_content_reference


@dataclass(frozen=True, slots=True)
class Selector:
    """Selects content of a repository here: one tag, one digest, or with neither the tags that filters select: its own filter,
    `wanted`, if it has one."""

    repository: str
    tag: str = ""
    digest: Digest | None = None
    wanted: Filter | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME[:TAG]` or `NAME[:TAG]@DIGEST`, the tag then being its name in the new version; raise InvalidInput."""
        found = parse_content_reference(text)
        return cls(found.repository, found.tag, found.digest)

    def __str__(self) -> str:
        return str(ContentReference(self.repository, self.tag, self.digest))
