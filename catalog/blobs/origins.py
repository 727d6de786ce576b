"""Where a repository can fetch blobs that its versions name and that came without their bytes: on demand, or passed through.

A source belongs to the repository that left the blob there. Others that name the same blob have to fetch it from their own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from catalog.lake.nested_values import fit_number
from oci.descriptor import UNKNOWN_SIZE, Descriptor
from oci.digest import Digest
from oci.kinds import kind_of
from oci.manifest import Manifest
from oci.remote.address import Remote
from oci.unicode import fit_text

Policy = Literal["immediate", "on_demand", "streamed"]
"""When layers are copied: with the sync; with the first request, and then kept; with each request, and never kept."""

MAX_CLAIM = 1 << 40
"""Bytes that a manifest may claim for a blob that is left upstream; a larger one is taken for an attack."""

_COMPANIONS = frozenset({"cosign-signature", "attestation", "sbom"})


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a copy came from that left layers behind, as `parse_remote` reads it, and what is to become of them."""

    remote: str
    policy: Policy


@dataclass(frozen=True, slots=True)
class BlobSource:
    """One place from which a blob can be fetched."""

    remote: Remote
    policy: Policy


def parts_now(parts: Iterable[tuple[str, Descriptor]], manifest: Manifest) -> Iterator[tuple[str, Descriptor]]:
    """The parts that are copied at once whatever the policy: all but layers, and those of what belongs to an image.

    Signatures, attestations and SBOMs are small, and asked for when their image is judged, not when it is run.
    """
    is_companion = manifest.subject is not None or kind_of(manifest) in _COMPANIONS
    return ((role, part) for role, part in parts if is_companion or role != "layer" or part.size == UNKNOWN_SIZE)


@dataclass(frozen=True, slots=True)
class Deferred:
    """A blob that a version names and that is left upstream, and the size that a manifest claims for it."""

    digest: Digest
    size: int
    origin: Origin


def source_records(
    repository: str, version: int, deferred: Iterable[Deferred], now: datetime
) -> list[dict[str, object]]:
    """Return the rows of table `sources` that a version brings."""
    return [
        {
            "repository": repository, "version": version, "digest": one.digest, "size": fit_number(one.size),
            "remote": fit_text(one.origin.remote), "policy": one.origin.policy, "created_at": now,
        }
        for one in deferred
    ]  # fmt: skip
