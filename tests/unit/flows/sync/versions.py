"""Versions, descriptors and copied manifests of which only names matter."""

from catalog.versions.snapshot import ManifestEntry, Snapshot
from flows.runs.metering import StagedManifest
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def descriptor(text: str, media_type: str = mediatypes.OCI_MANIFEST) -> Descriptor:
    return Descriptor(media_type, digest(text), 100)


def base_of(
    tags: dict[str, str], *, subjects: dict[str, str] | None = None, untagged: tuple[str, ...] = ()
) -> Snapshot:
    """Version 3 of a repository; names stand for the content of manifests, `subjects` maps a referrer to its subject."""
    subjects = subjects or {}
    held = [*tags.values(), *subjects, *untagged]
    return Snapshot(
        "team/app",
        3,
        tags={tag: digest(name) for tag, name in tags.items()},
        manifests={
            digest(name): ManifestEntry(
                mediatypes.OCI_MANIFEST, 100, subject=digest(subjects[name]) if name in subjects else None
            )
            for name in held
        },
    )


def staged(*names: str, subject: str = "") -> dict[Digest, StagedManifest]:
    return {digest(name): StagedManifest(descriptor(name), digest(subject) if subject else None) for name in names}


BASE = base_of({"same": "a", "moving": "b", "gone": "c"})
UPSTREAM = {"same": descriptor("a"), "moving": descriptor("b2"), "new": descriptor("d")}
