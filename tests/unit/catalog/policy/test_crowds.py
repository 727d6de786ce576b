"""Manifests beside which lie more signatures than are checked: who adds many keeps nobody from pulling what is signed."""

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalog.catalog import Catalog
from catalog.policy.document import TrustPolicy
from catalog.policy.evidence import MAX_ITEMS, MAX_READ, from_both_ends
from catalog.policy.explanation import PolicyDecision
from catalog.policy.store import Policies
from catalog.policy.version_source import VersionSource
from catalog.versions.snapshot import ManifestEntry, Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import ManifestUnknown
from oci.kinds import COSIGN_LAYER, SIGSTORE_BUNDLE, signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.signing.cosign import SIGNATURE, sign_simple
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement, sign_statement
from tests.trust import Key, policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAME = "team/app"
OURS, THEIRS = Key(), Key()
SIGNED = policy({"a": OURS.entry})
COVERING = policy({"a": OURS.entry}, rule={"index": "covers-children"})
STORE = MemoryStore()
IMAGE = pack_image(STORE, [{"file": "one"}])


@dataclass
class Crowd:
    """What lies beside manifests: in referrers in the order in which they are given, and under tags. It counts what is read."""

    repository: str = NAME
    tags: dict[str, Digest] = field(default_factory=dict)
    beside: dict[Digest, list[Digest]] = field(default_factory=dict)
    indexes: list[Digest] = field(default_factory=list)
    read: int = 0

    def tag(self, name: str) -> Digest | None:
        return self.tags.get(name)

    def referrers(self, digest: Digest) -> tuple[Digest, ...]:
        return tuple(self.beside.get(digest, ()))

    def manifest(self, digest: Digest) -> Manifest:
        if digest not in STORE.manifests:
            raise ManifestUnknown(f"no {digest}")
        return STORE.manifests[digest]

    def blob(self, digest: Digest) -> bytes:
        self.read += 1
        return STORE.blobs[digest]

    def parents(self, digest: Digest) -> tuple[Digest, ...]:
        return tuple(self.indexes) if digest == IMAGE.digest else ()


def bundle(key: Key, subject: Manifest = IMAGE, *, number: int = 0, claims: Key | None = None) -> Digest:
    """Put a signature by a key into the store; `claims` is the key that it says it is by."""
    statement = make_statement(subject.digest, NAME, COSIGN_SIGN, {"number": number})
    raw = sign_statement(statement, key.signer)
    if claims is not None:
        raw = raw.replace(key.signer.verifier.fingerprint.encode(), claims.signer.verifier.fingerprint.encode())
    return pack_artifact(STORE, SIGSTORE_BUNDLE, [(SIGSTORE_BUNDLE, raw)], subject=subject).digest


@pytest.fixture(scope="module")
def others() -> list[Digest]:
    """Signatures by another key that say so."""
    return [bundle(THEIRS, number=number) for number in range(300)]


@pytest.fixture(scope="module")
def liars() -> list[Digest]:
    """Signatures by another key that say they are ours, more than are read."""
    return [bundle(THEIRS, number=number, claims=OURS) for number in range(MAX_READ + 300)]


def decide(
    policies: Policies, source: Crowd, made: TrustPolicy = SIGNED, digest: Digest = IMAGE.digest
) -> PolicyDecision:
    return policies.evaluate({"p": made}, NAME, digest, source, NOW)[0]


def test_signatures_that_claim_a_signer_of_the_policy_are_checked_first(catalog: Catalog, others: list[Digest]) -> None:
    good = bundle(OURS)
    for crowd in ([*others, good], [good, *others], [*others[:150], good, *others[150:]]):
        assert decide(catalog.policies, Crowd(beside={IMAGE.digest: crowd})).is_allowed
    without = decide(catalog.policies, Crowd(beside={IMAGE.digest: others}))
    assert without.outcome == "undecidable"
    assert "the newest come first" in without.reason


def test_a_crowd_in_one_place_hides_no_signature_in_another(catalog: Catalog, liars: list[Digest]) -> None:
    tagged = _tagged(_layers(OURS, 1))
    source = Crowd(tags={signature_tag(IMAGE.digest): tagged}, beside={IMAGE.digest: liars})
    assert decide(catalog.policies, source).is_allowed
    crowded = _tagged(_layers(THEIRS, MAX_READ + 100))
    source = Crowd(tags={signature_tag(IMAGE.digest): crowded}, beside={IMAGE.digest: [bundle(OURS)]})
    assert decide(catalog.policies, source).is_allowed
    appended = _tagged([*_layers(THEIRS, MAX_READ + 100), *_layers(OURS, 1)])
    assert decide(catalog.policies, Crowd(tags={signature_tag(IMAGE.digest): appended})).is_allowed


def test_what_counted_before_is_read_first_and_a_crowd_of_liars_is_refused(
    catalog: Catalog, liars: list[Digest]
) -> None:
    good = bundle(OURS)
    crowded = Crowd(beside={IMAGE.digest: [*liars[:1100], good, *liars[1100:]]})
    found = decide(catalog.policies, crowded)
    assert (found.outcome, found.is_allowed) == ("undecidable", False)
    assert crowded.read <= MAX_READ + 1
    assert len(found.signatures) == MAX_ITEMS + 1
    assert decide(catalog.policies, Crowd(beside={IMAGE.digest: [good]})).is_allowed
    assert decide(catalog.policies, crowded).is_allowed


def test_indexes_that_list_a_manifest_are_bounded_together(catalog: Catalog, liars: list[Digest]) -> None:
    indexes = [
        pack_index(STORE, [(IMAGE, Platform("linux", "amd64"))], annotations={"number": str(number)})
        for number in range(MAX_ITEMS + 5)
    ]
    signed = bundle(OURS, indexes[-1])
    beside = {one.digest: liars for one in indexes} | {indexes[-1].digest: [signed]}
    crowded = Crowd(beside=beside, indexes=[one.digest for one in indexes])
    assert not decide(catalog.policies, crowded, COVERING).is_allowed
    assert crowded.read <= MAX_READ + 1
    assert decide(catalog.policies, crowded, COVERING, indexes[-1].digest).is_allowed
    assert decide(catalog.policies, crowded, COVERING).is_allowed  # the index that counted comes first


def test_of_very_many_the_newest_and_the_oldest_come_first(catalog: Catalog) -> None:
    digests = [Digest.of(str(number).encode()) for number in range(MAX_ITEMS + 1)]
    seen = {digest: NOW + timedelta(seconds=number) for number, digest in enumerate(digests)}
    entry = ManifestEntry(mediatypes.OCI_MANIFEST, 1, subject=IMAGE.digest)
    few = Snapshot(NAME, 1, manifests=dict.fromkeys(digests[:-1], entry))
    many = replace(few, version=2, manifests=dict.fromkeys(digests, entry))
    asked: list[Any] = []

    def first_seen(name: str, which: Any) -> Any:
        asked.append((name, len(which)))
        return seen

    def referrers(snapshot: Snapshot) -> tuple[Digest, ...]:
        source = VersionSource(snapshot, catalog.manifests, catalog.rights, catalog.history.children, first_seen)
        return source.referrers(IMAGE.digest)

    assert referrers(few) == tuple(sorted(digests[:-1]))
    assert asked == []
    assert referrers(many)[:4] == (digests[-1], digests[0], digests[-2], digests[1])
    assert sorted(referrers(many)) == sorted(digests)
    assert asked[0] == (NAME, MAX_ITEMS + 1)


def test_from_both_ends_keeps_everything_once() -> None:
    assert from_both_ends([1, 2, 3, 4, 5]) == [5, 1, 4, 2, 3]
    assert from_both_ends([1, 2]) == [2, 1]
    assert from_both_ends([]) == []


def _layers(key: Key, count: int) -> list[dict[str, object]]:
    """Return the layers of signatures by a key, as cosign's tag lists them."""
    made = [sign_simple(IMAGE.digest, f"{NAME}:{number}", key.signer) for number in range(count)]
    return [
        {
            **STORE.put_blob(one.payload, COSIGN_LAYER).to_json(),
            "annotations": {SIGNATURE: base64.b64encode(one.signature).decode()},
        }
        for one in made
    ]


def _tagged(layers: list[dict[str, object]]) -> Digest:
    config = STORE.put_blob(b"{}", mediatypes.OCI_CONFIG).to_json()
    document = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": config, "layers": layers}
    return STORE.put_manifest(json.dumps(document).encode(), mediatypes.OCI_MANIFEST).digest
