"""What is known of one image or artifact: what it is made of, what is attached to it, and where it is served."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from catalog.catalog import Catalog
from catalog.filters.companions import CompanionFilter
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import EntrepotError, InvalidInput, ManifestUnknown
from oci.image_config import CONFIGS, MAX_CONFIG
from oci.kinds import kind_of
from oci.manifest import Manifest
from oci.reference import ContentReference


@dataclass(frozen=True, slots=True)
class InspectedPart:
    """A layer, or a manifest of an index; `platform` of the latter, `command` that made the former, where that is known."""

    digest: Digest
    media_type: str
    size: int
    platform: str = ""
    command: str = ""
    is_here: bool = True
    """Whether its bytes are held here, rather than left upstream."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A manifest that refers to the inspected one, by its subject or by a tag of cosign's."""

    digest: Digest
    kind: str
    artifact_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """One manifest of a version, with all that is known of it."""

    repository: str
    version: int
    digest: Digest
    kind: str
    media_type: str
    artifact_type: str
    size: int
    tags: tuple[str, ...]
    served_at: tuple[str, ...]
    subject: Digest | None
    annotations: Mapping[str, str]
    platform: str
    config: Mapping[str, Any]
    """Of an image, where set: `created`, `author`, `user`, `entrypoint`, `cmd`, `env`, `workdir`, `ports`, `labels`."""

    parts: tuple[InspectedPart, ...]
    attached: tuple[Attached, ...] = field(default=())

    @property
    def total_size(self) -> int:
        """Return the bytes of its parts, each once."""
        return sum({part.digest: part.size for part in self.parts}.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "total_size": self.total_size}


def inspect_content(
    catalog: Catalog, wanted: ContentReference, version: int | None = None, *, most_attached: int | None = None
) -> Inspection:
    """Look at one manifest of a repository's version, the latest by default; raise ManifestUnknown, NameUnknown or InvalidInput.

    A reference without tag and digest means the tag `latest`, or the repository's only tag. Of what is attached, `most_attached`
    manifests are read at most.
    """
    snapshot, digest = resolve_content(catalog, wanted, version)
    manifest = catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    document = _read_config(catalog, snapshot, manifest)
    told = _told(document)
    return Inspection(
        snapshot.repository,
        snapshot.version,
        digest,
        kind_of(manifest, told.get("labels")),
        manifest.media_type,
        manifest.artifact_type,
        manifest.size,
        tuple(tag for tag in snapshot.sorted_tags if snapshot.tags[tag] == digest),
        tuple(
            one.path
            for one in catalog.distributions.all()
            if one.repository == snapshot.repository and catalog.snapshots.number_at(one) == snapshot.version
        ),
        manifest.subject.digest if manifest.subject else None,
        manifest.annotations,
        _platform(document),
        told,
        tuple(_parts(snapshot, manifest, document)),
        tuple(islice(list_attached(catalog, snapshot, digest), most_attached)),
    )


def resolve_content(catalog: Catalog, wanted: ContentReference, version: int | None = None) -> tuple[Snapshot, Digest]:
    """Return a version and the manifest that a reference names in it; raise as `inspect_content` does."""
    snapshot = catalog.snapshots.get(wanted.repository, version)
    if wanted.tag and wanted.digest and snapshot.tags.get(wanted.tag) != wanted.digest:
        raise InvalidInput(f"{wanted.repository}:{wanted.tag} is not {wanted.digest}; give the tag or the digest alone")
    return snapshot, snapshot.resolve(str(wanted.digest) if wanted.digest else wanted.tag or _only_tag(snapshot))


def _only_tag(snapshot: Snapshot) -> str:
    if "latest" in snapshot.tags:
        return "latest"
    if len(snapshot.tags) != 1:
        name, count = snapshot.repository, len(snapshot.tags)
        such = f"its {count} tags, such as {name}:{snapshot.sorted_tags[-1]} (`entrepot tag list {name}`)"
        raise ManifestUnknown(f"{name} has no tag 'latest'; name {f'one of {such}' if count else 'a digest'}")
    return next(iter(snapshot.tags))


def _read_config(catalog: Catalog, snapshot: Snapshot, manifest: Manifest) -> Mapping[str, Any]:
    """Return the config of an image; empty for other content, and for one that is not here or not readable."""
    config = manifest.config
    if config is None or config.media_type not in CONFIGS:
        return {}
    try:
        if (catalog.rights.usable_size(snapshot, config.digest) or 0) > MAX_CONFIG:
            return {}
        document = json.loads(catalog.rights.read(snapshot, config.digest))
    except (EntrepotError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _platform(document: Mapping[str, Any]) -> str:
    return "/".join(text for key in ("os", "architecture", "variant") if (text := str(document.get(key) or "")))


def _told(document: Mapping[str, Any]) -> dict[str, Any]:
    inner = document.get("config")
    inner = inner if isinstance(inner, dict) else {}
    found = {key: document.get(key) for key in ("created", "author")}
    names = {
        "user": "User",
        "entrypoint": "Entrypoint",
        "cmd": "Cmd",
        "workdir": "WorkingDir",
        "env": "Env",
        "ports": "ExposedPorts",
        "labels": "Labels",
    }
    found |= {key: inner.get(name) for key, name in names.items()}
    if not isinstance(found["labels"], dict):
        del found["labels"]
    return {key: value for key, value in found.items() if value}


def _commands(document: Mapping[str, Any]) -> list[str]:
    """Return the command that made each layer, by the config's history; empty where it tells of other layers."""
    history = document.get("history")
    steps = [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
    return [str(one.get("created_by") or "") for one in steps if not one.get("empty_layer")]


def _parts(snapshot: Snapshot, manifest: Manifest, document: Mapping[str, Any]) -> Iterator[InspectedPart]:
    for child in manifest.manifests:
        platform = str(child.platform) if child.platform else ""
        yield InspectedPart(
            child.digest, child.media_type, child.size, platform, is_here=child.digest in snapshot.manifests
        )
    commands = _commands(document)
    if len(commands) != len(manifest.layers):
        commands = [""] * len(manifest.layers)
    for layer, command in zip(manifest.layers, commands, strict=True):
        is_here = layer.digest in snapshot.blobs and layer.digest not in snapshot.deferred
        yield InspectedPart(layer.digest, layer.media_type, layer.size, command=command, is_here=is_here)


def list_attached(catalog: Catalog, snapshot: Snapshot, digest: Digest) -> Iterator[Attached]:
    """Give what refers to a manifest of a version, one after the other; each is read when it is asked for."""
    by_tag = [snapshot.tags[tag] for tag in CompanionFilter().tags_of(digest) if tag in snapshot.tags]
    for found in dict.fromkeys((*snapshot.referrers.get(digest, ()), *by_tag)):
        entry = snapshot.manifests[found]
        manifest = catalog.manifests.read(found, entry.media_type)
        yield Attached(found, kind_of(manifest), manifest.artifact_type, manifest.size)
