"""What vendors publish about the life of their images: annotations of a referrer, or of the image itself.

These are texts of strangers: only a date is read of them.

Source: the artifacts that `oras attach` and `acr annotate` make for images of Microsoft's registry.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from catalog.gates.repository_facts import RepositoryFacts
from catalog.lake.connection import Lake
from catalog.units import parse_time
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import InvalidInput

LIFECYCLE_TYPE = "application/vnd.microsoft.artifact.lifecycle"
END_OF_LIFE = "vnd.microsoft.artifact.lifecycle.end-of-life.date"
"""The annotation, or label of an image's config, that has the date."""

_LONGEST = 64

_STATED = f"""SELECT digest, subject, artifact_type, coalesce(annotations['{END_OF_LIFE}'], labels['{END_OF_LIFE}']) AS stated
FROM manifests WHERE repository = ? AND stated IS NOT NULL"""


def read_published(lake: Lake, snapshot: Snapshot, facts: RepositoryFacts) -> Mapping[Digest, datetime]:
    """Return the dates that are published for manifests of a version; one query."""
    rows = lake.read(_STATED, [snapshot.repository])
    stated = [
        (Digest(digest), Digest(subject) if subject else None, str(artifact_type), str(text))
        for digest, subject, artifact_type, text in rows
        if digest in snapshot.manifests
    ]
    return dates_of(stated, facts)


def dates_of(
    stated: Iterable[tuple[Digest, Digest | None, str, str]], facts: RepositoryFacts
) -> Mapping[Digest, datetime]:
    """Return dates by what they are about, the one that came last; `stated` are digest, subject, artifact type and text. Pure.

    A text that is no date is left out, and spoils no other.
    """
    found: dict[Digest, tuple[datetime, datetime]] = {}
    for digest, subject, artifact_type, text in stated:
        about = subject if subject is not None and artifact_type == LIFECYCLE_TYPE else digest
        known = facts.manifests.get(digest)
        try:
            date = parse_time(text[:_LONGEST].strip())
        except InvalidInput:
            continue
        if known is not None and (about not in found or (known.first_seen, date) > found[about]):
            found[about] = known.first_seen, date
    return {about: date for about, (_, date) in found.items()}
