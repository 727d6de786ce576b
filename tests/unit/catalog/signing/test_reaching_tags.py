"""By which tags manifests are reached: directly, through indexes, and not through lists of referrers."""

from catalog.signing.atomic import reaching_tags
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci.digest import Digest
from oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from oci.remote.referrers_tag import fallback_tag

INDEX, OUTER, AMD64, ARM64, SBOM, ABSENT = (Digest.of(name) for name in (b"i", b"o", b"a", b"r", b"s", b"n"))
LISTED = Digest.of(b"list")


def test_children_are_reached_by_the_tags_of_their_indexes() -> None:
    entries = {digest: ManifestEntry(OCI_INDEX, 1, "", None) for digest in (INDEX, OUTER, LISTED)}
    entries |= {digest: ManifestEntry(OCI_MANIFEST, 1, "", None) for digest in (AMD64, ARM64, SBOM)}
    tags = {"v2": OUTER, "v1": INDEX, "arm": ARM64, fallback_tag(INDEX): LISTED}
    children = {INDEX: (AMD64, ARM64, ABSENT), OUTER: (INDEX, AMD64), LISTED: (SBOM,), AMD64: (Digest.of(b"layer"),)}
    assert reaching_tags(Snapshot("team/app", 1, tags, entries), children) == {
        INDEX: ["v1", "v2"],
        OUTER: ["v2"],
        AMD64: ["v1", "v2"],
        ARM64: ["arm", "v1", "v2"],
        LISTED: [fallback_tag(INDEX)],
    }
