"""A catalogue in a temporary folder, and small images staged in it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Change, Commit, CommitResult, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.homes import new_home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder that is not there yet."""
    return tmp_path / "entrepot"


@pytest.fixture
def open_again(home: Path) -> Iterator[Callable[..., Catalog]]:
    """Open further catalogues on the same home, as other processes would."""
    opened: list[Catalog] = []

    def open_one(**changes: object) -> Catalog:
        opened.append(Catalog(read_settings(home=home, **changes)))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(home: Path, open_again: Callable[..., Catalog]) -> Catalog:
    if not home.exists():
        new_home(home)
    return open_again()


def stage_blob(catalog: Catalog, repository: str, data: bytes) -> dict[str, object]:
    digest = Digest.of(data)
    catalog.content.put(data, digest, repository)
    return {"digest": digest, "size": len(data)}


def stage_image(
    catalog: Catalog,
    repository: str,
    seed: str,
    layers: tuple[str, ...] = (),
    *,
    created: str = "",
    labels: dict[str, str] | None = None,
    **fields: object,
) -> Descriptor:
    """Put config, layers and manifest of a small image into the content store; the layers are shared by their text.

    `fields` are further ones of the manifest.
    """
    config_document = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {"seed": seed, **(labels or {})}},
        **({"created": created} if created else {}),
    }
    config = json.dumps(config_document).encode()
    document = {
        **fields,
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **stage_blob(catalog, repository, config)},
        "layers": [
            {"mediaType": mediatypes.OCI_LAYER_GZIP, **stage_blob(catalog, repository, text.encode())}
            for text in (layers or (f"layer of {seed}",))
        ],
    }
    return stage_manifest(catalog, repository, document, mediatypes.OCI_MANIFEST)


def stage_manifest(catalog: Catalog, repository: str, document: dict[str, object], media_type: str) -> Descriptor:
    raw = json.dumps(document).encode()
    digest = Digest.of(raw)
    catalog.content.put(raw, digest, repository, media_type)
    return Descriptor(media_type, digest, len(raw))


def stage_index(catalog: Catalog, repository: str, children: list[Descriptor], **fields: object) -> Descriptor:
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [child.to_json() for child in children],
        **fields,
    }
    return stage_manifest(catalog, repository, document, mediatypes.OCI_INDEX)


class Committing(Protocol):
    def __call__(self, repository: str, *changes: Change, **fields: object) -> CommitResult: ...


def commit_to(catalog: Catalog, repository: str, *changes: Change, **fields: object) -> CommitResult:
    values: dict[str, object] = {
        "operation": "test",
        "operation_id": "id",
        "actor": "tester",
        "created_at": datetime.now(UTC),
        **fields,
    }
    return catalog.commits.commit(Commit(repository=repository, changes=changes, **values))  # type: ignore[arg-type]


def push_image(
    catalog: Catalog, repository: str, tag: str, seed: str, layers: tuple[str, ...] = (), **content: Any
) -> CommitResult:
    """Give a tag to a new image; `content` is more of what `stage_image` takes."""
    descriptor = stage_image(catalog, repository, seed, layers, **content)
    return commit_to(catalog, repository, AddManifest(descriptor), SetTag(tag, descriptor.digest), operation_id=seed)
