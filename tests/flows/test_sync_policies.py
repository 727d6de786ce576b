"""Trust policies in a sync: what is not signed is left out, and what is here stays."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.distributions.records import Distribution
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import PolicyGateRule
from catalog.policy_gates.reports import ACTIONS
from oci.errors import PolicyUnknown
from oci.kinds import signature_tag
from oci.manifest import Manifest
from oci.signing.cosign import pack_signature, sign_simple
from oci.signing.keys import KeySigner, load_signer
from tests.flows.conftest import NAME, MemoryUpstream, Syncer

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def new_key() -> tuple[KeySigner, str]:
    """Return a signer and its public key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return load_signer(private, None, where="here"), public.decode()


pytestmark = pytest.mark.anyio
KEY, PUBLIC = new_key()
OTHER, _ = new_key()


def policy(**fields: Any) -> dict[str, Any]:
    rule = {"paths": ["team/**"], "signatures": [{"signers": ["release"]}], **fields}
    return {"version": 1, "signers": {"release": {"keys": [PUBLIC]}}, "rules": [rule]}


@pytest.fixture
def signed_sync(sync: Syncer) -> Syncer:
    """Syncs into a catalogue that has the policy `release`."""
    sync.catalog.policies.set("release", make_policy(policy(), where="test"), actor="test", now=NOW)
    return sync


def sign(upstream: MemoryUpstream, image: Manifest, key: KeySigner = KEY) -> str:
    """Sign an image upstream; return the tag of the signature."""
    signature = pack_signature(upstream.store, None, sign_simple(image.digest, "upstream.example/team/app", key))
    tag = signature_tag(image.digest)
    upstream.store.put_tag(tag, signature.digest)
    return tag


def actions(result: Any) -> dict[str, str]:
    return {item.tag: item.action for item in result.items}


async def test_what_is_not_signed_is_left_out_with_the_reason_at_no_further_request(
    signed_sync: Syncer, upstream: MemoryUpstream
) -> None:
    good, bad, wrong = upstream.image("good"), upstream.image("bad"), upstream.image("wrong")
    good_tag, wrong_tag = sign(upstream, good), sign(upstream, wrong, OTHER)
    result = await signed_sync(signed_by="release")
    assert {tag: action for tag, action in actions(result).items() if "-" not in tag} == {
        "good": "added",
        "bad": "refused",
        "wrong": "refused",
    }
    reasons = {item.tag: item.reason for item in result.items if item.action == "refused"}
    assert reasons["bad"].startswith("policy release: ")
    assert "no signature" in reasons["bad"]
    assert "no key that the rule names" in reasons["wrong"] or "not satisfied" in reasons["wrong"]
    held = signed_sync.snapshot()
    assert held.tags.keys() >= {"good", good_tag}
    assert not held.tags.keys() & {"bad", "wrong"}
    assert held.manifests.keys().isdisjoint({bad.digest, wrong.digest})
    assert result.counts["refused"] == 2
    assert result.failed == {}
    asked = {method: upstream.count(method) for method in ("tags", "resolve", "referrers")}
    assert set(upstream.calls.values()) == {1}  # nothing is asked or read twice
    upstream.calls.clear()
    plain = Syncer(signed_sync.catalog, upstream)
    await plain(repository="team/plain", operation_id="plain")
    assert {method: upstream.count(method) for method in asked} == asked
    assert wrong_tag in plain.catalog.snapshots.get("team/plain").tags


async def test_a_mirror_keeps_the_last_digest_that_passes_with_its_signature(
    signed_sync: Syncer, upstream: MemoryUpstream
) -> None:
    good = upstream.image("v1", "good")
    tag = sign(upstream, good)
    await signed_sync(mode="mirror", signed_by="release")
    first = signed_sync.snapshot()
    bad = upstream.image("v1", "bad")
    upstream.store.tagged.pop(tag)
    result = await signed_sync(mode="mirror", signed_by="release")
    assert actions(result)["v1"] == "refused"
    held = signed_sync.snapshot()
    assert held.tags == first.tags
    assert held.manifests.keys() == first.manifests.keys()
    assert bad.digest not in held.manifests
    assert signed_sync.catalog.policies.decide(NAME, good.digest, held, NOW, name="release").is_allowed  # type: ignore[union-attr]
    sign(upstream, bad)
    result = await signed_sync(mode="mirror", signed_by="release")
    assert actions(result)["v1"] == "moved"
    assert signed_sync.snapshot().tags["v1"] == bad.digest
    assert tag not in signed_sync.snapshot().tags


async def test_a_gate_at_syncs_asks_without_the_option_and_tells_it_once(
    signed_sync: Syncer, upstream: MemoryUpstream
) -> None:
    rule = PolicyGateRule(pattern="team/**", policy="release", at=("sync",), set_by="test", set_at=NOW)
    signed_sync.catalog.policies.set_gate(rule)
    bad = upstream.image("v1")
    for _ in range(2):
        assert actions(await signed_sync())["v1"] == "refused"
    told = [event for event in signed_sync.catalog.events.latest() if event.action in ACTIONS]
    assert [(event.name, event.outcome, event.detail["digest"]) for event in told] == [(NAME, "refused", bad.digest)]
    signed_sync.catalog.policies.set_gate(rule.model_copy(update={"mode": "dry-run"}))
    result = await signed_sync()
    assert actions(result)["v1"] == "added"
    assert any("would be refused by the policy release" in note for note in result.notes)


async def test_a_gate_of_a_path_is_asked_when_its_repository_is_filled(
    signed_sync: Syncer, upstream: MemoryUpstream
) -> None:
    catalog = signed_sync.catalog
    catalog.policies.set("public", make_policy(policy(paths=["public/**"]), where="test"), actor="test", now=NOW)
    rule = PolicyGateRule(pattern="public/**", policy="public", at=("sync",), set_by="test", set_at=NOW)
    catalog.policies.set_gate(rule)
    catalog.distributions.put(Distribution("public/app", NAME, NOW, NOW), actor="test")
    upstream.image("bad")
    sign(upstream, upstream.image("good"))
    found = actions(await signed_sync())
    assert (found["bad"], found["good"]) == ("refused", "added")


async def test_a_policy_that_is_not_here_costs_no_request(sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    with pytest.raises(PolicyUnknown):
        await sync(signed_by="release")
    assert not upstream.calls


async def test_a_dry_run_says_that_it_does_not_verify(signed_sync: Syncer, upstream: MemoryUpstream) -> None:
    upstream.image("v1")
    result = await signed_sync(signed_by="release", dry_run=True)
    assert any("no trust policy is asked" in note for note in result.notes)
    assert actions(result)["v1"] == "added"
