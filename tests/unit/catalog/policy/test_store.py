"""Policies that are kept: by name, for every process, and asked about versions with what lies in them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from catalog.catalog import Catalog
from catalog.policy.evidence import MAX_ITEMS, read_evidence
from catalog.signing.plan import plan_signing
from catalog.versions.changes import AddManifest, SetTag
from oci.digest import Digest
from oci.errors import BlobUnknown, InvalidInput, PolicyUnknown
from tests.trust import Key, policy
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NAME = "team/app"
KEY = Key()
SIGNED = policy({"a": KEY.entry})
COVERING = policy({"a": KEY.entry}, rule={"index": "covers-children"})


def sign(catalog: Catalog, *digests: Digest) -> None:
    latest = catalog.snapshots.get(NAME)
    changes = plan_signing(catalog, latest, digests, KEY.signer, reference=NAME, created=NOW.isoformat())
    commit_to(catalog, NAME, *changes, operation_id=f"sign {digests[0]}")


def test_another_process_sees_a_policy_and_that_it_is_gone(
    catalog: Catalog, open_again: Callable[..., Catalog]
) -> None:
    other = open_again()
    assert dict(other.policies.all()) == {}
    catalog.policies.set("release", SIGNED, actor="me", now=NOW)
    found = other.policies.get("release")
    assert (found.policy, found.set_by, found.set_at) == (SIGNED, "me", NOW)
    other.policies.set("release", COVERING, actor="you", now=NOW)
    assert catalog.policies.get("release").policy.digest == COVERING.digest
    catalog.policies.remove("release")
    for one in (catalog, other):
        with pytest.raises(PolicyUnknown):
            one.policies.get("release")
        with pytest.raises(PolicyUnknown):
            one.policies.remove("release")


def test_there_is_a_limit_of_policies(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.policy.store.MOST_POLICIES", 2)
    for number in range(2):
        catalog.policies.set(f"p{number}", SIGNED, actor="me", now=NOW)
    with pytest.raises(InvalidInput, match="the most allowed"):
        catalog.policies.set("more", SIGNED, actor="me", now=NOW)
    catalog.policies.set("p0", COVERING, actor="me", now=NOW)


def test_a_version_is_decided_by_what_lies_in_it(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    push_image(catalog, NAME, "v1", "one")
    catalog.policies.set("release", SIGNED, actor="me", now=NOW)
    digest = catalog.snapshots.get(NAME).tags["v1"]
    before = catalog.policies.decide(NAME, digest, catalog.snapshots.get(NAME), NOW)
    assert before is not None
    assert (before.outcome, before.policy) == ("not-signed", "release")
    sign(catalog, digest)
    snapshot = catalog.snapshots.get(NAME)
    after = catalog.policies.decide(NAME, digest, snapshot, NOW)
    assert after is not None
    assert after.is_allowed
    assert sorted(one.form for one in after.signatures) == ["bundle", "cosign"]
    assert catalog.policies.decide(NAME, digest, snapshot, NOW) is after  # remembered by policy and evidence
    assert catalog.policies.decide("free/app", digest, snapshot, NOW) is None
    with pytest.raises(PolicyUnknown):
        catalog.policies.decide(NAME, digest, snapshot, NOW, name="absent")

    def gone(*_: object) -> bytes:
        raise BlobUnknown("gone")

    monkeypatch.setattr(catalog.rights, "read", gone)
    broken = catalog.policies.decide(NAME, digest, snapshot, NOW)
    assert broken is not None
    assert broken.outcome == "undecidable"
    monkeypatch.undo()
    assert catalog.policies.decide(NAME, digest, snapshot, NOW).is_allowed  # type: ignore[union-attr]  # there is a policy


def test_the_first_policy_that_refuses_is_told(catalog: Catalog) -> None:
    push_image(catalog, NAME, "v1", "one")
    digest = catalog.snapshots.get(NAME).tags["v1"]
    sign(catalog, digest)
    catalog.policies.set("a", SIGNED, actor="me", now=NOW)
    catalog.policies.set("b", policy({"other": Key().entry}), actor="me", now=NOW)
    snapshot = catalog.snapshots.get(NAME)
    found = catalog.policies.decide(NAME, digest, snapshot, NOW)
    assert found is not None
    assert (found.policy, found.outcome) == ("b", "not-satisfied")
    assert catalog.policies.decide(NAME, digest, snapshot, NOW, name="a").is_allowed  # type: ignore[union-attr]  # it is there


def test_an_index_covers_what_it_lists_in_this_version(catalog: Catalog) -> None:
    child, stranger = stage_image(catalog, NAME, "child"), stage_image(catalog, NAME, "stranger")
    index = stage_index(catalog, NAME, [child])
    changes = [AddManifest(one) for one in (child, stranger, index)]
    commit_to(catalog, NAME, *changes, SetTag("v1", index.digest), SetTag("other", stranger.digest))
    sign(catalog, index.digest)
    snapshot = catalog.snapshots.get(NAME)
    for made, covered in ((COVERING, True), (SIGNED, False)):
        catalog.policies.set("p", made, actor="me", now=NOW)
        for digest, allowed in ((index.digest, True), (child.digest, covered), (stranger.digest, False)):
            assert catalog.policies.decide(NAME, digest, snapshot, NOW).is_allowed == allowed  # type: ignore[union-attr]


def test_a_decision_with_a_maximum_age_ends(catalog: Catalog) -> None:
    import pysequoia

    from catalog.signing.stored import stage
    from oci.memory import MemoryStore
    from oci.signing.atomic import pack_atomic
    from oci.signing.pgp_keys import load_pgp_signer

    secret = pysequoia.Tsk.generate(user_id="s <s@example.org>")
    signer = load_pgp_signer(bytes(secret), None, where="test")
    made = policy({"ops": {"openpgp": str(secret.extract_certificate())}}, max_age="2d")
    push_image(catalog, NAME, "v1", "one")
    snapshot = catalog.snapshots.get(NAME)
    digest = snapshot.tags["v1"]
    store = MemoryStore()
    atomic = signer.sign(digest, "r/team/app:v1", name="0" * 32, timestamp=int(NOW.timestamp()))
    subject = catalog.manifests.read(digest, snapshot.manifests[digest].media_type)
    packed = pack_atomic(store, atomic, subject)
    stage(catalog, NAME, store)
    commit_to(catalog, NAME, AddManifest(packed.descriptor), operation_id="atomic")
    catalog.policies.set("p", made, actor="me", now=NOW)
    snapshot = catalog.snapshots.get(NAME)
    found = catalog.policies.decide(NAME, digest, snapshot, NOW + timedelta(days=1))
    assert found is not None
    assert (found.is_allowed, found.holds_until) == (True, NOW + timedelta(days=2))
    late = catalog.policies.decide(NAME, digest, snapshot, NOW + timedelta(days=2, seconds=1))
    assert late is not None
    assert late.outcome == "not-satisfied"


def test_more_signatures_than_are_read_are_not_taken_for_all_of_them() -> None:
    class Crowded:
        repository = NAME

        def tag(self, _name: str) -> None:
            return None

        def referrers(self, _digest: Digest) -> tuple[Digest, ...]:
            return tuple(Digest.of(str(number).encode()) for number in range(MAX_ITEMS + 5))

        def manifest(self, digest: Digest) -> object:
            raise BlobUnknown(f"{digest} is gone")

        def blob(self, _digest: Digest) -> bytes:
            raise AssertionError

        def parents(self, _digest: Digest) -> tuple[Digest, ...]:
            return ()

    found = read_evidence(Crowded(), Digest.of(b"x"))  # type: ignore[arg-type]  # it has no manifests
    assert len(found.items) == MAX_ITEMS + 1
    assert "the rest is not checked" in found.items[-1].problem


def test_what_lies_beside_all_indexes_of_a_manifest_is_read_within_one_bound(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = stage_image(catalog, NAME, "child")
    indexes = [stage_index(catalog, NAME, [child, stage_image(catalog, NAME, f"{one}")]) for one in range(6)]
    commit_to(catalog, NAME, *(AddManifest(one) for one in (child, *indexes)), allow_sparse=True)
    sign(catalog, *(one.digest for one in indexes))
    snapshot = catalog.snapshots.get(NAME)
    whole = read_evidence(catalog.policies.source(snapshot), child.digest)
    most = max(sum(len(item.content) for item in one.items) for one in whole.parents)
    monkeypatch.setattr("catalog.policy.evidence.MAX_TOTAL", most + 1)
    bounded = read_evidence(catalog.policies.source(snapshot), child.digest)
    assert len(bounded.parents) == len(whole.parents) == 6
    assert sum(len(item.content) for one in bounded.parents for item in one.items) <= 2 * most
    assert {item.form for item in bounded.parents[-1].items} == {"unreadable"}
