"""Origins: the places that the content of a version came from, kept in the version's own record.

Whoever makes a commit states them as values; no text that a person or a client wrote is read for them.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

from catalog.lake.nested_values import to_text
from oci.errors import NameInvalid
from oci.remote.address import Remote, parse_remote

OriginKind = Literal["remote", "repository", "bundle", "folder"]
"""What an origin is: a repository of another registry, a repository here, a bundle, or a folder that a registry has left."""


@dataclass(frozen=True, slots=True)
class VersionOrigin:
    """One place that content of a version came from; `version` is the number there, None where there are no numbers.

    A remote is named as `parse_remote` reads it, without tag and digest.
    """

    kind: OriginKind
    name: str
    version: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.name}{f'@{self.version}' if self.version else ''}"


def remote_origins(remotes: Iterable[Remote]) -> tuple[VersionOrigin, ...]:
    """Return the origins that stand for repositories of other registries, in order, each once."""
    names = dict.fromkeys(str(remote.repository_only()) for remote in remotes)
    return tuple(VersionOrigin("remote", name) for name in names)


def repository_origins(versions: Mapping[str, int]) -> tuple[VersionOrigin, ...]:
    """Return the origins that stand for versions of repositories here, by name."""
    return tuple(VersionOrigin("repository", name, number) for name, number in versions.items())


def render_origins(origins: Iterable[VersionOrigin]) -> str | None:
    """Return the JSON text that the column `origins` of table `records` holds; None for no origin."""
    found = [asdict(one) for one in origins]
    return to_text(found) if found else None


def parse_origins(text: object) -> tuple[VersionOrigin, ...]:
    """Return the origins that a column's text holds; empty for none. Kinds that this release does not know are left out."""
    if not text:
        return ()
    found = cast("list[dict[str, Any]]", json.loads(str(text)))
    kinds = get_args(OriginKind)
    return tuple(VersionOrigin(one["kind"], one["name"], one["version"]) for one in found if one["kind"] in kinds)


def remotes_of(origins: Iterable[VersionOrigin]) -> list[Remote]:
    """Return the repositories of other registries among origins; a name that no release writes is left out."""
    found: list[Remote] = []
    for one in origins:
        if one.kind == "remote":
            with suppress(NameInvalid):
                found.append(parse_remote(one.name))
    return found
