"""What comes along when a tag steps back: companions of the earlier digest, by whatever tag they are found."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from catalog.gates.passing import PassingContent
from catalog.gates.repository_facts import ManifestFacts, RepositoryFacts, TagPlace
from catalog.gates.verdicts import Refusal
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.remote.referrers_tag import fallback_tag

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY: Any = SimpleNamespace(read=lambda *_: SimpleNamespace(manifests=(), children=tuple))


def entry(media_type: str) -> ManifestEntry:
    return ManifestEntry(media_type, 10)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_the_fallback_tag_of_an_earlier_digest_comes_along(algorithm: str) -> None:
    old, new, listing = (Digest.of(name, algorithm) for name in (b"old", b"new", b"list"))
    image, index = entry(mediatypes.OCI_MANIFEST), entry(mediatypes.OCI_INDEX)
    tag = fallback_tag(old)
    before = Snapshot("team/app", 1, {"v1": old, tag: listing}, {old: image, listing: index})
    latest = Snapshot("team/app", 2, {"v1": new}, {new: image})
    facts = RepositoryFacts(
        "team/app",
        2,
        {one: ManifestFacts(SEEN) for one in (old, new, listing)},
        {"v1": (TagPlace(old, 1, 2), TagPlace(new, 2)), tag: (TagPlace(listing, 1, 2),)},
        (1, 2),
    )
    passing = PassingContent(lambda _name, _number: before, cast("Any", EMPTY))
    made = passing.make(latest, facts, {new: Refusal("is held", steps_back=True)}, {})
    assert made.snapshot.tags == {"v1": old, tag: listing}
