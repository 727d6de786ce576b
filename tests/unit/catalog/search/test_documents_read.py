"""Documents that the index reads: by right, whatever is in them, and one that cannot be read keeps no other from it."""

import sqlite3
from contextlib import closing

import pytest

from catalog.catalog import Catalog
from catalog.documents.sboms import read_sbom
from catalog.search import documents
from catalog.search.terms import parse_term
from catalog.versions.changes import AddManifest, RemoveManifest
from oci import mediatypes
from oci.descriptor import Descriptor
from tests.unit.catalog.commits.test_left_upstream import ORIGIN
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_image, stage_manifest
from tests.unit.catalog.search.test_search import indexed, scopes, stage_sbom


def places(catalog: Catalog, package: str) -> set[str]:
    """The repositories in which a package is found."""
    return {one.repository for one in indexed(catalog, parse_term(f"package:{package}"), scopes(catalog))}


def states(catalog: Catalog) -> list[int]:
    """How each document was read: 0 not yet, 1 read, 2 absent, 3 invalid."""
    with closing(sqlite3.connect(catalog.search.file)) as connection:
        return sorted(state for (state,) in connection.execute("SELECT state FROM documents"))


def push_sbom(catalog: Catalog, repository: str, *packages: str) -> Descriptor:
    image = stage_image(catalog, repository, repository)
    sbom = stage_sbom(catalog, repository, image, *packages)
    commit_to(catalog, repository, AddManifest(image), AddManifest(sbom), operation_id=f"sbom {packages}")
    return sbom


def name_layer_of_another(catalog: Catalog, repository: str, sbom: Descriptor) -> Descriptor:
    """Stage a manifest that names the layer of somebody else's document, which its repository has never received."""
    layer = catalog.manifests.read(sbom.digest, sbom.media_type).layers[0]
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": {"mediaType": mediatypes.OCI_EMPTY, **stage_blob(catalog, repository, b"{}")},
        "layers": [layer.to_json()],
        "annotations": {"by": repository},
    }
    return stage_manifest(catalog, repository, manifest, mediatypes.OCI_MANIFEST)


@pytest.mark.parametrize("odd", ["x\ud800", "x\0y", "x" * 10**6])
def test_odd_names_keep_no_other_document_from_being_read(catalog: Catalog, odd: str) -> None:
    push_sbom(catalog, "a", odd, "openssl")
    push_sbom(catalog, "b", "zlib")
    catalog.search.refresh()
    assert (places(catalog, "openssl"), places(catalog, "zlib"), states(catalog)) == ({"a"}, {"b"}, [1, 1])


@pytest.mark.parametrize("error", [UnicodeEncodeError("utf-8", "x", 0, 1, "broken"), KeyError("x"), RecursionError()])
def test_a_document_that_cannot_be_read_is_left_out_alone(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    parse = read_sbom

    def fail(document: object, most: int) -> object:
        if "broken" in str(document):
            raise error
        return parse(document, most)

    monkeypatch.setattr(documents, "read_sbom", fail)
    push_sbom(catalog, "a", "broken")
    push_sbom(catalog, "b", "zlib")
    catalog.search.refresh()
    assert (places(catalog, "broken"), places(catalog, "zlib"), states(catalog)) == (set(), {"b"}, [1, 3])


def test_a_document_that_is_named_by_digest_is_not_read_for_who_has_not_received_it(catalog: Catalog) -> None:
    """A sparse repository takes manifests whose blobs are not there; somebody else may have them."""
    sbom = push_sbom(catalog, "private", "secret-package")
    named = name_layer_of_another(catalog, "evil", sbom)
    commit_to(catalog, "evil", AddManifest(named), allow_sparse=True, allow_absent=True)
    catalog.search.refresh()
    assert (places(catalog, "secret"), states(catalog)) == ({"private"}, [1, 2])


def test_a_document_that_was_left_upstream_is_not_read_for_whom_it_was(catalog: Catalog) -> None:
    """Else who names the digest of another's document in a manifest of theirs would learn what is in it."""
    sbom = push_sbom(catalog, "private", "secret-package")
    named = name_layer_of_another(catalog, "evil", sbom)
    commit_to(catalog, "evil", AddManifest(named), origin=ORIGIN)
    catalog.search.refresh()
    assert (places(catalog, "secret"), states(catalog)) == ({"private"}, [1, 2])


def test_a_document_that_went_is_read_by_the_right_of_the_version_that_had_it(catalog: Catalog) -> None:
    sbom = push_sbom(catalog, "a", "zlib")
    commit_to(catalog, "a", RemoveManifest(sbom.digest), operation_id="removed")
    catalog.search.refresh()
    assert states(catalog) == [1]
    first = indexed(catalog, parse_term("package:zlib"), [scopes(catalog, a=1)[0]])
    assert ([one.value for one in first], places(catalog, "zlib")) == (["zlib"], set())
