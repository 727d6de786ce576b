"""The facts of a repository: what its tags pointed to, and when its manifests came, also once versions are deleted."""

from datetime import UTC, datetime, timedelta

from catalog.catalog import Catalog
from catalog.gates.repository_facts import ManifestFacts, RepositoryFacts, TagPlace, add_rows
from catalog.versions.changes import AddManifest, RemoveManifest, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_image, stage_index, stage_manifest

NAME = "team/app"
START = datetime(2026, 1, 1, tzinfo=UTC)
A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))


def facts_of(catalog: Catalog, version: int) -> RepositoryFacts:
    return catalog.facts.read(NAME, version, drops=catalog.snapshots.drops)


def commit_daily(catalog: Catalog, *texts: str) -> list[Digest]:
    """Move a tag each day; what it pointed to leaves, as in a mirror."""
    made: list[Digest] = []
    for day, text in enumerate(texts):
        image = stage_image(catalog, NAME, text)
        old = [RemoveManifest(made[-1])] if made else []
        commit_to(
            catalog, NAME, AddManifest(image), SetTag("v1", image.digest), *old, operation_id=str(day),
            created_at=START + timedelta(days=day),
        )  # fmt: skip
        made.append(image.digest)
    return made


def test_a_tag_is_told_up_to_a_version_with_the_last_version_that_has_each_place() -> None:
    places = [TagPlace(A, 1, 3), TagPlace(B, 3, 4), TagPlace(C, 6)]
    facts = RepositoryFacts(NAME, 8, tags={"v1": places}, numbers=[1, 2, 4, 6, 8])
    assert list(facts.places("v1", 8)) == [(C, 8), (A, 2)]  # version 3, which had B, is no more
    assert list(facts.places("v1", 5)) == [(A, 2)]
    assert list(facts.places("v1", 1)) == [(A, 1)]
    assert list(facts.places("v2", 8)) == []


def test_what_comes_is_read_after_what_is_known(catalog: Catalog) -> None:
    one, two = commit_daily(catalog, "one", "two")
    known = facts_of(catalog, 1)
    assert known.version == 2  # all there is
    assert known.tags["v1"] == (TagPlace(one, 1, 2), TagPlace(two, 2))
    index = stage_index(catalog, NAME, [stage_image(catalog, NAME, "part")])
    signature = stage_image(catalog, NAME, "signature")
    commit_to(catalog, NAME, AddManifest(index), SetTag("v1", index.digest), operation_id="x", allow_sparse=True)
    commit_to(catalog, NAME, AddManifest(signature), operation_id="y")
    found = facts_of(catalog, 4)
    assert facts_of(catalog, 4) is found
    assert [place.digest for place in found.tags["v1"]] == [one, two, index.digest]
    assert found.manifests[one] == known.manifests[one] == ManifestFacts(START, has_image_config=True)
    part = found.manifests[index.digest].parts[0]
    assert found.parents == {part: (index.digest,)}
    assert not found.manifests[signature.digest].is_companion


def test_types_and_parts_are_read_as_they_are_written(catalog: Catalog) -> None:
    """A media type may have blanks: then it is another one, which clients know nothing about."""
    statement, blank = "application/vnd.in-toto+json", "application/ vnd.in-toto+json"
    made = {kind: stage_artifact(catalog, kind) for kind in (statement, blank)}
    commit_to(catalog, NAME, *map(AddManifest, made.values()), operation_id="x")
    found = facts_of(catalog, 1).manifests
    assert {kind: found[one.digest].is_companion for kind, one in made.items()} == {statement: True, blank: False}
    assert all(not one.parts for one in found.values())


def test_an_image_config_counts_as_one_in_whatever_way_it_is_spaced() -> None:
    rows = [
        ("version", 1, None, None, START, None, None, None),
        ("manifest", 1, "add", None, None, str(A), None, [child("config", f" {mediatypes.OCI_CONFIG}", B)]),
        ("manifest", 1, "add", None, None, str(B), None, [child("manifest", "x y", C), child("manifest", "x y", C)]),
    ]
    found = add_rows(RepositoryFacts(NAME), 1, rows).manifests
    assert found == {A: ManifestFacts(START, has_image_config=True), B: ManifestFacts(START, parts=(C,))}


def stage_artifact(catalog: Catalog, kind: str) -> Descriptor:
    """Stage a manifest with one layer of that media type, and no image's config."""
    blob = stage_blob(catalog, NAME, b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_EMPTY, **blob},
        "layers": [{"mediaType": kind, **blob}],
    }
    return stage_manifest(catalog, NAME, document, mediatypes.OCI_MANIFEST)


def child(role: str, media_type: str, digest: Digest) -> dict[str, str]:
    return {"role": role, "media_type": media_type, "digest": str(digest)}


def test_a_manifest_keeps_when_it_came_once_its_version_is_deleted(catalog: Catalog) -> None:
    kept = stage_image(catalog, NAME, "kept")
    commit_to(catalog, NAME, AddManifest(kept), SetTag("kept", kept.digest), operation_id="k", created_at=START)
    commit_daily(catalog, "one", "two", "three")
    for numbers in (range(1, 2), range(2, 4)):  # its row moves on twice
        catalog.deletion.delete_versions(NAME, [numbers], actor="test", now=START)
    assert catalog.history.first_seen(NAME, [kept.digest]) == {kept.digest: START}
    assert facts_of(catalog, 4).manifests[kept.digest].first_seen == START
    assert facts_of(catalog, 4).numbers == [4]
