"""Events that flows send to Prefect: one for each version and for each change of a path, none for a tag. All of it is pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from catalog.versions.changes import AddManifest, Commit, CommitResult, RemoveManifest, RemoveTag, SetTag
from catalog.versions.version_origins import VersionOrigin
from oci.errors import EntrepotError
from oci.remote.address import parse_remote

VERSION_CREATED, PATH_CHANGED = "entrepot.version.created", "entrepot.path.changed"
PATH_CHANGES = ("added", "updated", "removed")
"""What became of a path that is worth an event."""
_MOST_ORIGINS = 20


@dataclass(frozen=True, slots=True)
class ConsoleEvent:
    """What Prefect is told: `id` is the same whenever the same thing is told again."""

    id: UUID
    event: str
    resource: dict[str, str]
    related: list[dict[str, str]] = field(default_factory=list)
    payload: dict[str, Any] = field(default_factory=dict)


def version_event(commit: Commit, made: CommitResult, *, home: str, page: str) -> ConsoleEvent:
    """Return the event of a new version: how much it changed, and where its content came from."""
    counts = {
        kind: sum(isinstance(change, what) for change in commit.changes)
        for kind, what in (
            ("tags_set", SetTag), ("tags_removed", RemoveTag), ("manifests_added", AddManifest),
            ("manifests_removed", RemoveManifest),
        )
    }  # fmt: skip
    return ConsoleEvent(
        _id_of(home, f"{made.repository}@{made.version}"),
        VERSION_CREATED,
        {
            **_resource("repository", home, made.repository),
            "entrepot.repository": made.repository,
            "entrepot.operation": commit.operation,
            "entrepot.home": home,
        },
        _origins(commit.version_origins, home),
        {
            "repository": made.repository, "version": made.version, "operation": commit.operation, "actor": commit.actor,
            "changed": counts, "tags": len(made.snapshot.tags), "page": page,
        },
    )  # fmt: skip


def path_event(path: str, change: str, version: int, *, run_id: str, host: str, home: str, page: str) -> ConsoleEvent:
    """Return the event of a path that serves something else now, or nothing any more."""
    return ConsoleEvent(
        _id_of(home, f"{path} {change} {version} {run_id}"),
        PATH_CHANGED,
        {**_resource("path", home, path), "entrepot.path": path, "entrepot.change": change, "entrepot.home": home},
        [
            {**_resource("repository", home, path), "prefect.resource.role": "repository"},
            {"prefect.resource.id": f"entrepot.upstream.{host}/{path}", "prefect.resource.role": "upstream"},
        ],
        {"path": path, "change": change, "version": version, "page": page},
    )


def _id_of(home: str, what: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"entrepot:{home}:{what}")


def _resource(kind: str, home: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"entrepot.{kind}.{home}.{name}", "prefect.resource.name": name}


def _origins(origins: Iterable[VersionOrigin], home: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for one in list(origins)[:_MOST_ORIGINS]:
        if one.kind == "repository":
            found.append({**_resource("repository", home, one.name), "prefect.resource.role": "source"})
        elif one.kind == "remote" and (place := _place(one.name)):
            found.append({"prefect.resource.id": f"entrepot.upstream.{place}", "prefect.resource.role": "upstream"})
    return found


def _place(remote: str) -> str:
    try:
        reference = parse_remote(remote).reference
    except EntrepotError:
        return ""
    return f"{reference.registry}/{reference.repository}"
