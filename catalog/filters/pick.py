"""What is chosen from a repository: a tag, a digest, or what a filter keeps."""

from dataclasses import dataclass
from typing import Self

from catalog.filters.filter import Filter
from oci.digest import Digest
from oci.reference import parse_name, parse_tag


@dataclass(frozen=True, slots=True)
class Pick:
    """What is chosen from a repository here: one tag, one digest, or with neither the tags that filters keep: its own filter,
    `wanted`, if it has one."""

    repository: str
    tag: str = ""
    digest: Digest | None = None
    wanted: Filter | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME[:TAG]` or `NAME[:TAG]@DIGEST`, the tag then being its name in the new version; raise InvalidInput."""
        rest, at, digest = text.partition("@")
        name, colon, tag = rest.partition(":")
        return cls(parse_name(name), parse_tag(tag) if colon else "", Digest.parse(digest) if at else None)

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"
