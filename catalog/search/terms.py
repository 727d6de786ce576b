"""What is looked for, within what, and what is found."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from oci.digest import Digest

TermKind = Literal["text", "digest", "label", "package"]
_DIGEST = re.compile(r"(?:sha(?:256|512):)?([0-9a-f]{7,128})")
_LABEL = re.compile(r"([^=\s]{1,200})=(.{0,300})")
_PACKAGE = "package:"


class SearchTerm(NamedTuple):
    """What is looked for: the text of a tag or package, the beginning of a digest, or a label or annotation `key` and value."""

    kind: TermKind
    text: str
    key: str = ""


class SearchScope(NamedTuple):
    """A repository to look in, as of one of its versions; None is the latest."""

    repository: str
    version: int | None


@dataclass(frozen=True, slots=True)
class SearchHit:
    """What was found: a tag, manifest or blob; of a label also its value; of a package its name, with the image that has it."""

    repository: str
    kind: str
    tag: str
    digest: Digest
    value: str = ""


class SearchResult(NamedTuple):
    """What was found. `has_packages`: packages were looked at too; `is_cut`: not all was, since that would cost too much."""

    hits: list[SearchHit]
    has_packages: bool = True
    is_cut: bool = False


def parse_term(text: str) -> SearchTerm:
    """Read what somebody typed: a digest or seven or more of its digits, `KEY=VALUE`, `package:NAME`, else a text. Pure."""
    text = text.strip()
    if text.lower().startswith(_PACKAGE):
        return SearchTerm("package", text[len(_PACKAGE) :].strip())
    if (found := _DIGEST.fullmatch(text.lower())) and (":" in text or re.search(r"\d", text)):
        return SearchTerm("digest", found[1])
    if found := _LABEL.fullmatch(text):
        return SearchTerm("label", found[2], found[1])
    return SearchTerm("text", text)
