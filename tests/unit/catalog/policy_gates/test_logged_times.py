"""The clock of holds by verified signatures: a log's time counts where a policy in use trusts the signer, and nowhere else."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from catalog.catalog import Catalog
from catalog.holds.rules import HoldRule
from catalog.policy.document import TrustPolicy, make_policy
from catalog.policy.explanation import SignatureVerdict
from catalog.policy.gate_rules import GateMode, PolicyGateRule
from catalog.policy.trust_roots import TrustCache
from catalog.policy_gates.logged_times import logged_since
from catalog.signing.stored import stage
from catalog.versions.changes import AddManifest, SetTag
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.kinds import SIGSTORE_BUNDLE
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.signing.keyless import KeylessSigner, load_trust
from oci.signing.sigstore_bundle import COSIGN_SIGN, make_statement
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token
from tests.unit.catalog.conftest import commit_to, stage_image, stage_index

NAME, WHO, STRANGER = "team/app", "builder@example.org", "stranger@example.org"
SIGNED_AT = datetime.now(UTC)
LATER = SIGNED_AT + timedelta(days=10)
"""When content comes here: ten days after it was signed."""


@pytest.fixture(scope="module")
def sigstore() -> Iterator[PrivateSigstore]:
    with PrivateSigstore() as running:
        yield running


class Held:
    """A catalogue with a hold of seven days, a policy that trusts WHO, and one image that has just come."""

    def __init__(self, catalog: Catalog, sigstore: PrivateSigstore) -> None:
        self.catalog, self.sigstore = catalog, sigstore
        catalog.policies.trust = TrustCache(lambda: load_trust(sigstore.trust_config, where="the test"))
        catalog.holds.put_rule(HoldRule("team/**", timedelta(days=7), "test", SIGNED_AT))
        self.image = stage_image(catalog, NAME, "one")
        commit_to(
            catalog,
            NAME,
            AddManifest(self.image),
            SetTag("v1", self.image.digest),
            operation_id="push",
            created_at=LATER,
        )

    def policy(self, **fields: Any) -> TrustPolicy:
        rule = {"paths": ["team/**"], "signatures": [{"signers": ["builder"]}], **fields}
        signer = {"identity": WHO, "issuer": ISSUER}
        return make_policy({"version": 1, "signers": {"builder": signer}, "rules": [rule]}, where="test")

    def gate(self, mode: GateMode = "refuse", **fields: Any) -> None:
        self.catalog.policies.set("release", self.policy(**fields), actor="test", now=SIGNED_AT)
        self.catalog.policies.set_gate(
            PolicyGateRule(
                pattern="team/**", policy="release", at=("pull",), mode=mode, set_by="test", set_at=SIGNED_AT
            )
        )

    def sign(self, who: str = WHO, *, about: Digest | None = None, beside: Descriptor | None = None) -> None:
        """Put a bundle beside a manifest, the image unless another is given; `about` is what it says it is about."""
        subject = beside or self.image
        trusted = load_trust(self.sigstore.trust_config, where="the test")
        statement = make_statement(about or subject.digest, NAME, COSIGN_SIGN, {})
        (bundle,) = KeylessSigner(trusted, identity_token(who)).sign([statement])
        store = MemoryStore()
        manifest = self.catalog.manifests.read(subject.digest, subject.media_type)
        packed = pack_artifact(store, SIGSTORE_BUNDLE, [(SIGSTORE_BUNDLE, bundle)], subject=manifest)
        stage(self.catalog, NAME, store)
        commit_to(
            self.catalog, NAME, AddManifest(packed.descriptor), operation_id=f"sign {packed.digest}", created_at=LATER
        )

    def held(self, after: timedelta = timedelta(hours=1), *, fully: bool = True) -> set[Digest]:
        """What is held so long after the image has come."""
        catalog = self.catalog
        snapshot = catalog.snapshots.get(NAME)
        facts = catalog.facts.read(NAME, snapshot.version, drops=catalog.snapshots.drops)
        judge = catalog.holds.judge_fully if fully else catalog.holds.judge
        return set(judge(NAME, snapshot, facts, LATER + after).refused)


@pytest.fixture
def held(catalog: Catalog, sigstore: PrivateSigstore) -> Held:
    return Held(catalog, sigstore)


def test_a_signature_that_a_gate_trusts_makes_its_image_as_old_as_the_log_says(held: Held) -> None:
    held.sign()
    assert held.held() == {held.image.digest}  # no policy is in use
    held.gate()
    assert held.held() == set()
    held.gate("dry-run")
    assert held.held() == {held.image.digest}
    held.gate("warn")
    assert held.held() == set()
    held.catalog.policies.unset_gate("team/**", "release")
    assert held.held() == {held.image.digest}


def test_a_signature_of_a_stranger_and_one_of_another_image_make_nothing_older(held: Held) -> None:
    held.gate()
    held.sign(STRANGER)
    held.sign(about=Digest.of(b"another image, signed long ago"))
    assert held.held() == {held.image.digest}
    held.sign()
    assert held.held() == set()


def test_a_log_that_is_not_trusted_makes_nothing_older(held: Held) -> None:
    held.gate()
    with PrivateSigstore() as other:
        held.sigstore = other
        held.sign()
    assert held.held() == {held.image.digest}


def test_a_time_in_the_future_holds_nothing_for_longer(held: Held) -> None:
    """The log's clock is ahead of ours: the image has come before it was signed, by that clock."""
    image = stage_image(held.catalog, NAME, "early")
    came = SIGNED_AT - timedelta(days=8)
    commit_to(held.catalog, NAME, AddManifest(image), operation_id="early", created_at=came)
    held.gate()
    held.sign(beside=image)
    snapshot = held.catalog.snapshots.get(NAME)
    facts = held.catalog.facts.read(NAME, snapshot.version, drops=held.catalog.snapshots.drops)
    for now, is_held in ((came + timedelta(days=6), True), (came + timedelta(days=7), False)):
        assert (image.digest in held.catalog.holds.judge_fully(NAME, snapshot, facts, now).refused) is is_held


def test_an_index_that_is_signed_makes_its_parts_pass_with_it(held: Held) -> None:
    index = stage_index(held.catalog, NAME, [held.image])
    commit_to(held.catalog, NAME, AddManifest(index), operation_id="index", created_at=LATER)
    held.gate(index="covers-children")
    assert held.held() == {held.image.digest, index.digest}
    held.sign(beside=index)
    assert held.held() == set()


def test_pulls_do_not_wait_and_are_told_of_a_time_once_it_is_known(held: Held) -> None:
    held.gate()
    held.sign()
    times = held.catalog.logged_times
    before = held.catalog.holds.changes
    assert held.held(fully=False) == {held.image.digest}
    times.wait()
    assert held.catalog.holds.changes > before
    assert held.held(fully=False) == set()
    after = held.catalog.holds.changes
    assert held.held(fully=False) == set()
    times.wait()
    assert held.catalog.holds.changes == after
    held.catalog.policies.set("release", held.policy(action="deny", signatures=[]), actor="test", now=SIGNED_AT)
    assert held.catalog.holds.changes > after
    assert held.held(fully=False) == {held.image.digest}


def verdict(who: str, day: int, *, clock: str = "log", accepted: bool = True, by: str = "") -> SignatureVerdict:
    made_at = datetime(2026, 1, day, tzinfo=UTC)
    return SignatureVerdict(
        "bundle", "o", "signature", COSIGN_SIGN, accepted, (who,), (by or who,), "", made_at, clock, 4, ""
    )


def test_where_several_must_have_signed_it_is_the_time_of_the_last_of_them() -> None:
    signers = {name: {"identity": name, "issuer": ISSUER} for name in ("a", "b", "c")}

    def rule(threshold: object, *names: str) -> Any:
        wanted = {"signers": list(names), "threshold": threshold}
        document = {"version": 1, "signers": signers, "rules": [{"paths": ["**"], "signatures": [wanted]}]}
        return make_policy(document, where="test").rules[0]

    found = [
        verdict("b", 5),
        verdict("a", 3),
        verdict("c", 9),
        verdict("a", 1, accepted=False),
        verdict("b", 2, clock="signer"),
    ]

    def day(rule: Any, verdicts: list[SignatureVerdict]) -> int | None:
        since = logged_since(rule, verdicts)
        return None if since is None else since.day

    assert [day(rule(one, "a", "b", "c"), found) for one in ("any", 2, "all")] == [3, 5, 9]
    assert day(rule("any", "c"), found) == 9
    assert day(rule("all", "a", "b"), [verdict("a", 1), verdict("a", 2)]) is None
    assert day(rule(2, "a", "b"), [verdict("a", 1, by="same"), verdict("b", 2, by="same")]) is None
    assert day(rule("any", "a"), [replace(verdict("a", 1), says="attestation")]) is None
    assert day(rule("any", "a"), []) is None
    both = rule("any", "a").model_copy(
        update={"signatures": (*rule("any", "a").signatures, *rule("any", "b").signatures)}
    )
    assert day(both, found) == 5
    assert day(both, found[1:]) is None
    assert day(rule("any", "a").model_copy(update={"signatures": ()}), found) is None
