"""What signing and attesting change in a version: each form once, in one commit, and nothing of others is lost."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.commits.blob_rights import Rights
from catalog.filters.selector import Selector
from catalog.signing.plan import (
    plan_attachment,
    plan_attestation,
    plan_signing,
    read_document,
    select_manifests,
)
from catalog.signing.stored import atomic_signatures, held_attestations, held_signatures
from catalog.signing.verification import check_signatures
from catalog.versions.changes import AddManifest, Change, SetTag
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.kinds import COSIGN_LAYER, ENVELOPE_LAYER, attestation_tag, signature_tag
from oci.mediatypes import OCI_MANIFEST
from oci.signing.atomic import ATOMIC
from oci.signing.cosign import SignatureForm
from oci.signing.key_files import generate_key
from oci.signing.keys import Signer, SignerFailed, Verifier
from oci.signing.sigstore_bundle import COSIGN_SIGN
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_manifest

NAME, CREATED = "team/app", "2026-01-02T00:00:00Z"
FIRST, SECOND = generate_key("ecdsa"), generate_key("ed25519")
SPDX = read_document(b'{"spdxVersion": "SPDX-2.3", "name": "hello"}', "https://spdx.dev/Document")


def committed(catalog: Catalog, changes: Sequence[Change]) -> int:
    """How many manifests the changes have added; the version that they make is the next one."""
    before = catalog.snapshots.get(NAME)
    if changes:
        commit_to(catalog, NAME, *changes, operation_id=str(datetime.now(UTC)))
        assert catalog.snapshots.get(NAME).version == before.version + 1
    return len(catalog.snapshots.get(NAME).manifests) - len(before.manifests)


def sign(catalog: Catalog, signer: Signer, form: SignatureForm = "both") -> int:
    latest = catalog.snapshots.get(NAME)
    digests = select_manifests(latest, Selector.parse(NAME))
    return committed(
        catalog, plan_signing(catalog, latest, digests, signer, reference=NAME, created=CREATED, form=form)
    )


def attest(catalog: Catalog, signer: Signer, form: SignatureForm, digest: Digest) -> int:
    latest = catalog.snapshots.get(NAME)
    return committed(catalog, plan_attestation(catalog, latest, digest, SPDX, signer, created=CREATED, form=form))


@pytest.fixture
def digest(catalog: Catalog) -> Digest:
    push_image(catalog, NAME, "v1", "one")
    return catalog.snapshots.get(NAME).tags["v1"]


def test_many_images_are_signed_in_one_commit_and_once(catalog: Catalog) -> None:
    staged = [(f"v{number}", stage_image(catalog, NAME, str(number))) for number in range(10)]
    changes = [change for tag, one in staged for change in (AddManifest(one), SetTag(tag, one.digest))]
    commit_to(catalog, NAME, *changes)
    assert [sign(catalog, FIRST) for _ in range(2)] == [20, 0]


def test_each_form_is_made_once_and_counts_for_itself(catalog: Catalog, digest: Digest) -> None:
    assert [sign(catalog, FIRST, form) for form in ("tags", "tags", "bundle", "bundle", "both")] == [1, 0, 1, 0, 0]
    checked = check_signatures(catalog, catalog.snapshots.get(NAME), digest, FIRST.verifier)
    assert (checked.tagged_good, checked.bundled_good) == (1, 1)


def test_attestations_are_made_once_in_each_form_and_by_each_key(catalog: Catalog, digest: Digest) -> None:
    forms: tuple[SignatureForm, ...] = ("bundle", "both", "tags")
    assert [attest(catalog, FIRST, form, digest) for form in forms] == [1, 1, 0]
    assert attest(catalog, SECOND, "both", digest) == 2
    latest = catalog.snapshots.get(NAME)
    manifest, envelopes = held_attestations(catalog, latest, digest)
    assert manifest is not None
    assert [layer.annotations["predicateType"] for layer in manifest.layers] == [SPDX.predicate_type] * 2
    pairs = zip(envelopes, (FIRST, SECOND), strict=True)
    assert all(one.is_for(digest) and one.is_by(key.verifier) for one, key in pairs)
    types = check_signatures(catalog, latest, digest, SECOND.verifier).predicate_types
    assert COSIGN_SIGN not in types
    other = read_document(b'{"spdxVersion": "SPDX-2.3", "name": "another"}', SPDX.predicate_type)
    assert plan_attestation(catalog, latest, digest, other, FIRST, created=CREATED)
    assert committed(catalog, plan_attachment(catalog, latest, digest, SPDX)) == 1


def test_a_malformed_signature_of_somebody_spoils_nothing_and_stays(catalog: Catalog, digest: Digest) -> None:
    layer = {
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
        **stage_blob(catalog, NAME, b"no payload"),
    }
    layers = [{**layer, "annotations": {"dev.cosignproject.cosign/signature": "%"}}]
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **stage_blob(catalog, NAME, b"{}")}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers}
    bad = stage_manifest(catalog, NAME, document, OCI_MANIFEST)
    commit_to(catalog, NAME, AddManifest(bad), SetTag(signature_tag(digest), bad.digest), operation_id="bad")
    assert sign(catalog, FIRST, "tags") == 1
    manifest, signatures = held_signatures(catalog, catalog.snapshots.get(NAME), digest)
    assert manifest is not None
    assert json.loads(manifest.raw)["layers"][0] == layers[0]
    assert [one.is_by(FIRST.verifier) for one in signatures] == [True]
    assert check_signatures(catalog, catalog.snapshots.get(NAME), digest, FIRST.verifier).tagged_good == 1
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    empty = stage_manifest(catalog, NAME, index, str(index["mediaType"]))
    commit_to(catalog, NAME, AddManifest(empty), SetTag(attestation_tag(digest), empty.digest), operation_id="empty")
    assert attest(catalog, FIRST, "tags", digest) == 1
    checked = check_signatures(catalog, catalog.snapshots.get(NAME), digest, FIRST.verifier)
    assert checked.predicate_types == (SPDX.predicate_type,)


def test_signatures_of_strangers_are_read_within_bounds(
    catalog: Catalog, digest: Digest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    read = Rights.read

    def counted(self: Rights, version: Snapshot, blob: Digest) -> bytes:
        found = read(self, version, blob)
        reads.append(len(found))
        return found

    monkeypatch.setattr(Rights, "read", counted)
    monkeypatch.setattr("catalog.signing.stored.MOST_BYTES", 10_000)
    config = {"mediaType": "application/vnd.oci.empty.v1+json", **stage_blob(catalog, NAME, b"{}")}
    subject = catalog.manifests.read(digest, OCI_MANIFEST).descriptor.to_json()
    large = stage_blob(catalog, NAME, b"x" * 4000)
    for kind, tag in ((COSIGN_LAYER, signature_tag(digest)), (ENVELOPE_LAYER, attestation_tag(digest)), (ATOMIC, "a")):
        more = {"artifactType": ATOMIC, "subject": subject} if kind == ATOMIC else {}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, **more}
        flood = stage_manifest(catalog, NAME, {**document, "layers": [{"mediaType": kind, **large}] * 50}, OCI_MANIFEST)
        commit_to(catalog, NAME, AddManifest(flood), SetTag(tag, flood.digest), operation_id=tag)
    latest = catalog.snapshots.get(NAME)
    functions: list[Callable[[Catalog, Snapshot, Digest], object]] = [
        held_signatures,
        held_attestations,
        atomic_signatures,
    ]
    for function in functions:
        reads.clear()
        function(catalog, latest, digest)
        assert reads == [4000, 4000]


def test_a_signer_that_fails_half_way_changes_nothing(catalog: Catalog) -> None:
    class Failing(Signer):
        def __init__(self) -> None:
            self.left = 3

        @property
        def verifier(self) -> Verifier:
            return FIRST.verifier

        def sign(self, data: bytes) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise SignerFailed("gone")
            return FIRST.sign(data)

    for tag in ("v1", "v2"):
        push_image(catalog, NAME, tag, tag)
    before = catalog.snapshots.get(NAME).version
    with pytest.raises(SignerFailed, match="gone"):
        sign(catalog, Failing())
    assert catalog.snapshots.get(NAME).version == before
