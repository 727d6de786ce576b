"""Names: repositories, tags and references. Source: distribution-spec, "Pulling manifests"."""

import re
from dataclasses import dataclass

from oci.digest import Digest
from oci.errors import InvalidInput, NameInvalid, TagInvalid

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
NAME_PATTERN = f"^{_NAME.pattern}$"
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])(?::[0-9]{1,5})?")
MAX_NAME = 255
DOCKER_HUB, DOCKER_HUB_NAME = "registry-1.docker.io", "docker.io"
_DOCKER_NAMES = frozenset({DOCKER_HUB_NAME, "index.docker.io", DOCKER_HUB})


def is_name(text: str) -> bool:
    """Return whether text has the form of a repository name."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def parse_name(text: str) -> str:
    """Return text as a repository name; raise NameInvalid."""
    if not is_name(text):
        raise NameInvalid(
            f"invalid repository name {text[:300]!r}: expected parts of lower-case letters, digits and . _ - "
            f"joined by /, {MAX_NAME} characters at most"
        )
    return text


def is_tag(text: str) -> bool:
    """Return whether text has the form of a tag."""
    return _TAG.fullmatch(text) is not None


def parse_tag(text: str) -> str:
    """Return text as a tag; raise TagInvalid."""
    if not is_tag(text):
        raise TagInvalid(
            f"invalid tag {text[:200]!r}: expected up to 128 letters, digits, _ . -, not starting with . or -"
        )
    return text


@dataclass(frozen=True, slots=True)
class Reference:
    """A place on a registry: `registry` is its host[:port] as dialled, `tag` and `digest` may both be absent."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Read `[host[:port]/]name[:tag][@digest]`; a name without a host is Docker Hub's. Raise NameInvalid and kin."""
    rest = text.removeprefix("docker://")
    if "://" in rest:
        raise NameInvalid(f"not a reference: {text[:300]!r}; leave out the scheme: host[:port]/name[:tag][@digest]")
    rest, at, digest_text = rest.partition("@")
    digest = Digest.parse(digest_text) if at else None
    registry, name = _split_host(rest)
    head, colon, tag = name.rpartition(":")
    if colon:
        name = head
    registry, name = _docker_hub(registry, name)
    if not _HOST.fullmatch(registry):
        raise NameInvalid(f"not a registry host: {registry[:200]!r} in {text[:300]!r}")
    return Reference(registry, parse_name(name), parse_tag(tag) if colon else None, digest)


@dataclass(frozen=True, slots=True)
class ContentReference:
    """Content of a repository here: of one tag, one digest, or with neither the repository as a whole."""

    repository: str
    tag: str = ""
    digest: Digest | None = None

    def __str__(self) -> str:
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def parse_content_reference(text: str) -> ContentReference:
    """Read `NAME[:TAG][@DIGEST]`; raise NameInvalid, TagInvalid or DigestInvalid."""
    rest, at, digest = text.partition("@")
    name, colon, tag = rest.partition(":")
    return ContentReference(parse_name(name), parse_tag(tag) if colon else "", Digest.parse(digest) if at else None)


@dataclass(frozen=True, slots=True)
class VersionReference:
    """A version of a repository here; None: the latest."""

    repository: str
    version: int | None = None


def parse_version_reference(text: str) -> VersionReference:
    """Read `NAME` or `NAME@VERSION`; raise InvalidInput or NameInvalid."""
    name, at, number = text.partition("@")
    if at and not (number.isascii() and number.isdecimal() and len(number) <= 15):
        raise InvalidInput(f"invalid version {text[:300]!r}: expected NAME or NAME@VERSION, such as team/app@3")
    return VersionReference(parse_name(name), int(number) if at else None)


def parse_registry(text: str) -> tuple[str, str]:
    """Read `host[:port][/prefix]` as host, by the name that people use, and prefix, which may be empty. Raise NameInvalid."""
    host, slash, prefix = text.partition("/")
    is_host = bool(_HOST.fullmatch(host)) and _split_host(f"{host}/name")[0] == host
    if not is_host or (slash and not prefix):
        raise NameInvalid(f"not a registry: {text[:200]!r}; write host[:port], or host[:port]/prefix")
    return registry_name(host), parse_name(prefix) if prefix else ""


def registry_name(host: str) -> str:
    """Return the name by which people know a registry: Docker Hub has several, and its host is none of them."""
    return DOCKER_HUB_NAME if host in _DOCKER_NAMES else host


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first, rest
    return DOCKER_HUB, text


def _docker_hub(registry: str, name: str) -> tuple[str, str]:
    if registry not in _DOCKER_NAMES:
        return registry, name
    return DOCKER_HUB, name if "/" in name else f"library/{name}"
