"""Watches that block what a tag moves to that must not move, forget an upstream, and compare identities of certificates."""

import asyncio
import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.holds.rules import HoldDecision
from catalog.settings import read_settings
from catalog.watch.records import KEPT_CHANGES, WatchTerms
from catalog.watch.sightings import SeenTag, Sightings, UpstreamChange
from flows.sync.request import SyncRequest
from flows.watch.blocking import blocks_of, paths_from
from flows.watch.sources import find_upstreams, watched_name
from oci.digest import Digest
from oci.errors import RemoteUnknown
from oci.kinds import COSIGN_CERTIFICATE, SIGSTORE_BUNDLE
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact
from oci.remote.address import parse_remote
from oci.signing.claimed_signers import signer_of_bundle, signer_of_certificate
from oci.signing.cosign import SimpleSignature, pack_signature
from tests.flows.test_watch import FIRST, NAME, Watcher
from tests.homes import new_home
from tests.mirror import synced
from tests.upstream import Upstream


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Watcher]:
    """A watcher of an upstream with a mirror `mirror/app` and a cache `cache` here; it has watched once."""
    home = new_home(tmp_path / "home", administrator=True)
    with open_catalog(read_settings(home=home)) as catalog, Upstream({NAME: MemoryStore()}) as upstream:
        made = Watcher(catalog, upstream)
        for tag in ("v1.0.0", "latest"):
            made.image(tag, tag)
        asyncio.run(synced(catalog, SyncRequest(remote=made.remote, repository="mirror/app")))
        catalog.distributions.put(Distribution("cache", "", FIRST, FIRST, remote=upstream.host), actor="test")
        made()
        yield made


def blocks(catalog: Catalog) -> set[tuple[Digest, str]]:
    catalog.holds.reload()
    return {(one.digest, one.pattern) for one in catalog.holds.decisions() if one.action == "block"}


PATHS = ("mirror/app", f"cache/{NAME}")


def test_what_a_full_version_moves_to_is_blocked_at_every_path_once(watcher: Watcher) -> None:
    good = watcher.store.tagged["v1.0.0"]
    bad = watcher.image("v1.0.0", "bad").digest
    watcher.image("latest", "another")
    found = watcher(on_move="hold")
    assert {one.tag: one.kind for one in found.changes} == {"v1.0.0": "moved", "latest": "moved"}
    assert blocks(watcher.catalog) == {(bad, path) for path in PATHS}
    [block, _] = found.blocked
    assert block.reason == f"{watcher.remote}:v1.0.0 has moved to it from {good}, and must not move"
    told = watcher.catalog.events.latest(action="block-digest")
    assert [(one.name, one.actor) for one in told] == [(bad, "watch-upstream")] * 2
    assert watcher(on_move="hold").blocked == ()
    watcher.store.put_tag("v1.0.0", good)
    back = watcher(on_move="hold")
    assert ([one.kind for one in back.changes], back.blocked) == (["moved"], ())  # it is as it should be
    watcher.store.put_tag("v1.0.0", bad)
    assert watcher(on_move="hold").blocked == ()
    worse = watcher.image("v1.0.0", "worse").digest
    watcher(on_move="hold")
    assert blocks(watcher.catalog) == {(digest, path) for digest in (bad, worse) for path in PATHS}


def test_a_watch_without_the_rule_blocks_nothing_and_other_patterns_are_heeded(watcher: Watcher) -> None:
    watcher.image("v1.0.0", "bad")
    assert watcher().blocked == ()
    assert blocks(watcher.catalog) == set()
    late = watcher.image("latest", "bad too").digest
    assert {one.digest for one in watcher(on_move="hold", expect_immutable=("latest",)).blocked} == {late}


def test_a_tag_that_returns_with_another_digest_is_blocked_too(watcher: Watcher) -> None:
    watcher.store.tagged.pop("v1.0.0")
    assert watcher(on_move="hold").blocked == ()
    bad = watcher.image("v1.0.0", "bad").digest
    assert {one.digest for one in watcher(on_move="hold").blocked} == {bad}


def test_a_watch_that_was_killed_blocks_with_the_next_run(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = watcher.image("v1.0.0", "bad").digest

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for method in ("decide_all", "record"):
        with monkeypatch.context() as patched:
            patched.setattr(watcher.catalog.holds if method == "decide_all" else watcher.catalog.watches, method, die)
            with pytest.raises(KeyboardInterrupt):
                watcher(on_move="hold")
    assert blocks(watcher.catalog) == {(bad, path) for path in PATHS}
    found = watcher(on_move="hold")
    assert ([one.kind for one in found.changes], found.blocked) == (["moved"], ())
    assert len(watcher.catalog.events.latest(action="block-digest")) == 2


def test_what_an_operator_has_released_is_not_blocked(watcher: Watcher) -> None:
    bad = watcher.image("v1.0.0", "rebuilt").digest
    release = HoldDecision(bad, "release", "mirror/**", "rebuilt by us", "admin", FIRST)
    watcher.catalog.holds.decide(release)
    watcher(on_move="hold")
    assert blocks(watcher.catalog) == {(bad, PATHS[1])}


def test_first_digests_are_believed_only_while_all_moves_are_kept(watcher: Watcher) -> None:
    good = watcher.store.tagged["v1.0.0"]
    other = Digest.of(b"other")
    terms = WatchTerms()
    for number in range(KEPT_CHANGES + 1):
        base = watcher.catalog.watches.read(watcher.remote)
        digest = good if number % 2 else other
        now = FIRST + timedelta(days=1, minutes=number)
        watcher.catalog.watches.record(base, Sightings({"v1.0.0": SeenTag(digest)}), terms, now=now)
        first = watcher.catalog.watches.first_digests(watcher.remote, ["v1.0.0", "latest"])
        assert first == {"v1.0.0": good if number < KEPT_CHANGES - 1 else None}


def test_blocks_are_of_digests_and_not_of_tags() -> None:
    good, bad = Digest.of(b"good"), Digest.of(b"bad")
    moved = [UpstreamChange("moved", tag, bad, good, "warning") for tag in ("v1.0.0", "v1.0.1")]
    [block] = blocks_of(moved, {}, "r.example/app", ["a/b"], [], FIRST)
    assert (block.digest, block.action, block.pattern, block.expires_at) == (bad, "block", "a/b", None)
    ended = HoldDecision(bad, "block", "a/b", "x", "x", FIRST - timedelta(days=2), expires_at=FIRST - timedelta(days=1))
    assert len(blocks_of(moved, {}, "r.example/app", ["a/b"], [ended], FIRST)) == 1
    assert blocks_of(moved, {"v1.0.0": bad, "v1.0.1": bad}, "r.example/app", ["a/b"], [], FIRST) == []


def test_both_paths_of_a_cache_of_docker_hub_are_found(watcher: Watcher) -> None:
    catalog = watcher.catalog
    hub = Distribution("hub", "", FIRST, FIRST, remote="docker.io")
    narrow = Distribution("narrow", "", FIRST, FIRST, remote="docker.io/library")
    for cache in (hub, narrow, Distribution("other", "", FIRST, FIRST, remote="quay.io")):
        catalog.distributions.put(cache, actor="test")
    name = watched_name(parse_remote("docker.io/library/alpine"))
    assert paths_from(catalog, "hub/alpine", name) == ["hub/alpine", "hub/library/alpine", "narrow/alpine"]
    assert paths_from(
        catalog, "docker.io/grafana/grafana", watched_name(parse_remote("docker.io/grafana/grafana"))
    ) == ["hub/grafana/grafana"]
    assert [watched_name(one) for one in find_upstreams(catalog, "hub/alpine")] == [name]


def test_a_path_below_a_cache_is_watched_at_its_upstream(watcher: Watcher) -> None:
    [remote] = find_upstreams(watcher.catalog, f"cache/{NAME}")
    assert watched_name(remote) == watcher.remote


def test_a_remote_is_forgotten_with_all_that_is_known_of_it(watcher: Watcher) -> None:
    watcher.image("v1.0.0", "bad")
    watcher()
    watches = watcher.catalog.watches
    watches.forget(watcher.remote, actor="admin", now=watcher.now)
    assert watches.read(watcher.remote).tags == {}
    assert watches.first_digests(watcher.remote, ["v1.0.0"]) == {}
    assert [one.actor for one in watcher.catalog.events.latest(action="watch-forget")] == ["admin"]
    with pytest.raises(RemoteUnknown, match="never watched"):
        watches.forget(watcher.remote, actor="admin", now=watcher.now)
    assert watcher().is_first


# --- identities of certificates ---


def certificate(identity: str, issuer: str = "https://issuer.example") -> x509.Certificate:
    """A certificate as Fulcio makes it, of a key that nobody keeps."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    oid = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
    size = bytes([len(issuer)]) if len(issuer) < 128 else bytes([0x81, len(issuer)])
    der = b"\x0c" + size + issuer.encode()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(minutes=10))
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(identity)]), critical=True)
        .add_extension(x509.UnrecognizedExtension(oid, der), critical=False)
        .sign(key, hashes.SHA256())
    )


def bundle_by(store: MemoryStore, image: Manifest, identity: str, issuer: str = "https://issuer.example") -> Manifest:
    der = certificate(identity, issuer).public_bytes(serialization.Encoding.DER)
    material = {"certificate": {"rawBytes": base64.b64encode(der).decode()}}
    raw = json.dumps({"verificationMaterial": material, "dsseEnvelope": {}}).encode()
    return pack_artifact(store, SIGSTORE_BUNDLE, [(SIGSTORE_BUNDLE, raw)], subject=image)


@pytest.mark.parametrize(
    "after", [("eve@example.org", "https://issuer.example"), ("bot@example.org", "https://evil.example")]
)
def test_another_identity_or_issuer_of_a_certificate_is_told(watcher: Watcher, after: tuple[str, str]) -> None:
    watcher.upstream.has_referrers = True
    image = watcher.image("v1.0.0", "signed")
    signature = bundle_by(watcher.store, image, "bot@example.org")
    watcher(signatures=True)
    del watcher.store.manifests[signature.digest]
    bundle_by(watcher.store, image, *after)
    [changed] = watcher(signatures=True).changes
    assert (changed.kind, changed.severity) == ("signer-changed", "warning")
    assert changed.signers_before == ("bot@example.org (https://issuer.example)",)
    assert changed.signers == (f"{after[0]} ({after[1]})",)


def test_another_certificate_of_the_same_identity_is_no_change(watcher: Watcher) -> None:
    watcher.upstream.has_referrers = True
    image = watcher.image("v1.0.0", "signed")
    signature = bundle_by(watcher.store, image, "bot@example.org")
    watcher(signatures=True)
    del watcher.store.manifests[signature.digest]
    bundle_by(watcher.store, image, "bot@example.org")
    assert watcher(signatures=True).changes == ()


def test_certificates_under_cosigns_tag_are_read(watcher: Watcher) -> None:
    image = watcher.image("v1.0.0", "signed")
    pem = certificate("bot@example.org").public_bytes(serialization.Encoding.PEM).decode()
    packed = pack_signature(watcher.store, None, SimpleSignature(b"{}", b"signed"))
    document = json.loads(packed.raw)
    document["layers"][0]["annotations"][COSIGN_CERTIFICATE] = pem
    made = watcher.store.put_manifest(json.dumps(document).encode(), packed.media_type)
    watcher.store.put_tag(f"sha256-{image.digest.encoded}.sig", made.digest)
    watcher(signatures=True)
    known = watcher.catalog.watches.read(watcher.remote).tags["v1.0.0"].signatures
    assert known is not None
    assert [one.signer for one in known.values()] == ["bot@example.org (https://issuer.example)"]


@pytest.mark.parametrize("length", [10, 100, 127, 128, 200])
def test_an_issuer_is_read_whatever_its_length(length: int) -> None:
    issuer = "https://i.example/".ljust(length, "x")
    pem = certificate("bot@example.org", issuer).public_bytes(serialization.Encoding.PEM).decode()
    assert signer_of_certificate(pem) == f"bot@example.org ({issuer})"


@pytest.mark.parametrize("pem", ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_what_is_no_certificate_is_unreadable(pem: str) -> None:
    assert signer_of_certificate(pem) == "unreadable"
    assert (
        signer_of_bundle(json.dumps({"verificationMaterial": {"certificate": {"rawBytes": pem}}}).encode())
        == "unreadable"
    )
    assert signer_of_certificate("") == "key"
