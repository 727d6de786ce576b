"""Watches of an upstream: each change is told once, nothing that fails is told, and the cost is counted."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.watch import records
from catalog.watch.sightings import SeenTag, Sightings
from flows.watch.flow import Watch, watch_one
from flows.watch.request import WatchedUpstream, WatchRequest
from flows.watch.sources import find_upstreams, watched_name
from oci.errors import NotFound, RemoteError
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.signing.cosign import SimpleSignature, pack_signature
from oci.signing.keys import KeySigner
from oci.signing.sigstore_bundle import pack_bundle, sign_statement
from tests.cli.commands import Entrepot
from tests.conftest import DockerRegistryFactory
from tests.homes import new_home
from tests.mirror import upload
from tests.servers import Children
from tests.upstream import Upstream

NAME = "team/app"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Watcher:
    """Watches a repository of an upstream; each watch begins an hour after the one before."""

    catalog: Catalog
    upstream: Upstream
    name: str = NAME
    now: datetime = FIRST

    def __call__(self, **request: Any) -> WatchedUpstream:
        self.now += timedelta(hours=1)
        return asyncio.run(self._watch(WatchRequest(source=self.remote, **request)))

    @property
    def remote(self) -> str:
        return f"{self.upstream.host}/{self.name}"

    async def _watch(self, request: WatchRequest) -> WatchedUpstream:
        async with Upstreams(self.catalog.settings, self.catalog.remotes) as upstreams:
            remotes = find_upstreams(self.catalog, request.source)
            return await watch_one(Watch(self.catalog, upstreams, request), remotes[0], self.now)

    def kinds(self, **request: Any) -> dict[str, str]:
        """Watch, and return what was told by tag."""
        return {one.tag: one.kind for one in self(**request).changes}

    @property
    def store(self) -> MemoryStore:
        return self.upstream.repositories[self.name]

    def image(self, tag: str, text: str) -> Manifest:
        manifest = pack_image(self.store, [{"file": text}])
        self.store.put_tag(tag, manifest.digest)
        return manifest


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream({}) as started:
        yield started


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    home = new_home(tmp_path_factory.mktemp("watch") / "home", administrator=True)
    with open_catalog(read_settings(home=home)) as opened:
        yield opened


@pytest.fixture
def watcher(catalog: Catalog, upstream: Upstream) -> Watcher:
    """A watcher of a repository of its own, which was watched once."""
    name = f"{NAME}-{len(upstream.repositories)}"
    upstream.repositories[name] = MemoryStore()
    upstream.faults.clear()
    upstream.has_referrers = False
    made = Watcher(catalog, upstream, name)
    for number in range(3):
        made.image(f"v1.0.{number}", f"image {number}")
    made.image("latest", "image 2")
    made()
    upstream.forget()
    return made


def _actions(watcher: Watcher) -> list[str]:
    return sorted(one.action for one in watcher.catalog.events.latest(name=watcher.remote))


def test_a_first_watch_tells_nothing_and_an_unchanged_upstream_costs_a_list_and_heads(watcher: Watcher) -> None:
    assert watcher.catalog.watches.read(watcher.remote).tags.keys() == {"latest", "v1.0.0", "v1.0.1", "v1.0.2"}
    assert _actions(watcher) == []
    found = watcher()
    assert (found.changes, found.seen, found.is_first) == ((), 4, False)
    assert watcher.upstream.counts == {("GET", "base"): 1, ("GET", "tags"): 1, ("HEAD", "manifest"): 4}
    assert found.requests == 6
    watcher.upstream.forget()
    watcher(include=("v1.0.0", "latest"))
    assert watcher.upstream.counts == {("GET", "base"): 1, ("HEAD", "manifest"): 2}


def test_each_change_is_told_once_and_seen_by_sql(watcher: Watcher) -> None:
    old, gone = watcher.store.tagged["latest"], watcher.store.tagged.pop("v1.0.1")
    moved = watcher.image("latest", "another")
    bad = watcher.image("v1.0.0", "a release that was made again")
    watcher.image("v2.0.0", "new")
    assert watcher.kinds() == {"latest": "moved", "v1.0.0": "moved", "v1.0.1": "vanished", "v2.0.0": "new"}
    assert watcher.upstream.counts == {("GET", "base"): 1, ("GET", "tags"): 1, ("HEAD", "manifest"): 5}
    assert watcher.kinds() == {}
    assert _actions(watcher) == [
        "watch-immutable-moved", "watch-tag-moved", "watch-tag-new", "watch-tag-vanished",
    ]  # fmt: skip
    told = {one.action: one for one in watcher.catalog.events.latest(name=watcher.remote)}["watch-immutable-moved"]
    assert (told.name, told.detail["tag"], told.detail["severity"]) == (watcher.remote, "v1.0.0", "warning")
    assert told.detail["digest"] == bad.digest
    watcher.store.put_tag("v1.0.1", gone)
    watcher.store.put_tag("latest", old)
    assert watcher.kinds() == {"latest": "moved", "v1.0.1": "returned"}
    rows = _ask(
        watcher,
        "SELECT tag, digest, moved_from, moves, vanished_at, last_seen = first_seen FROM watched_tags ORDER BY tag",
    )
    assert rows[0] == ("latest", old, moved.digest, 2, None, False)
    assert [row[0] for row in rows] == ["latest", "v1.0.0", "v1.0.1", "v1.0.2", "v2.0.0"]
    changes = _ask(watcher, "SELECT tag, kind FROM watched_changes ORDER BY happened_at, tag")
    assert [kind for tag, kind in changes if tag == "v1.0.1"] == ["vanished", "returned"]


def _ask(watcher: Watcher, sql: str) -> list[tuple[Any, ...]]:
    """Ask about the watcher's own remote."""
    for view in ("watched_tags", "watched_changes"):
        sql = sql.replace(f"FROM {view}", f"FROM (SELECT * FROM {view} WHERE remote = '{watcher.remote}')")
    return [tuple(row.values()) for row in watcher.catalog.query.run(sql).to_pylist()]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_tag_that_fails_is_unknown_and_spoils_no_other(watcher: Watcher, status: int) -> None:
    watcher.image("latest", "another")
    watcher.upstream.fail(status, route="manifest", only="v1.0.1", retry_after="0")
    found = watcher()
    assert {one.tag: one.kind for one in found.changes} == {"latest": "moved"}
    assert found.unknown.keys() == {"v1.0.1"}
    before = watcher.catalog.watches.read(watcher.remote).tags["v1.0.1"]
    assert (before.vanished_at, before.last_seen) == (None, FIRST + timedelta(hours=1))
    watcher.upstream.faults.clear()
    assert watcher.kinds() == {}
    assert watcher.catalog.watches.read(watcher.remote).tags["v1.0.1"].last_seen is None


def test_a_list_that_lacks_a_tag_does_not_make_it_vanish(watcher: Watcher) -> None:
    def shorten(seen: Any, good: Any) -> Any:
        if seen.route == "tags":
            good.body = json.dumps({"name": watcher.name, "tags": None}).encode()
            good.headers["content-length"] = str(len(good.body))
        return good

    watcher.upstream.faults.append(shorten)
    found = watcher()
    assert (found.changes, found.seen) == ((), 4)


@pytest.mark.parametrize("status", [401, 429, 503])
def test_a_list_that_fails_is_no_end_of_tags(watcher: Watcher, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oci.remote.transport.pause_before_retry", lambda *_a, **_k: 0.0)
    watcher.upstream.fail(status, route="tags", retry_after="0")
    with pytest.raises(RemoteError):
        watcher()
    assert _actions(watcher) == []
    assert all(one.vanished_at is None for one in watcher.catalog.watches.read(watcher.remote).tags.values())


def test_a_repository_that_is_gone_has_lost_its_tags(watcher: Watcher) -> None:
    watcher.upstream.fail(404, only=watcher.name)
    assert set(watcher.kinds().values()) == {"vanished"}
    with pytest.raises(RemoteError):  # nothing is known to be there, and the list says nothing
        watcher()


def test_an_upstream_that_fails_for_good_is_not_asked_for_every_tag(watcher: Watcher) -> None:
    for number in range(60):
        watcher.image(f"t{number}", "the same")
    watcher.upstream.fail(503, route="manifest")
    found = watcher()
    assert (found.seen, len(found.unknown), found.changes) == (0, 64, ())
    assert watcher.upstream.counts["HEAD", "manifest"] <= 30


def test_tags_that_a_wider_filter_selects_are_not_new(watcher: Watcher) -> None:
    watcher.upstream.repositories["team/other"] = MemoryStore()
    other = Watcher(watcher.catalog, watcher.upstream, "team/other")
    for tag in ("v2.0.0", "main"):
        other.image(tag, tag)
    other(include=("w*",))
    assert other.kinds(include=("w*", "main")) == {}
    other.image("w1", "w1")
    other.image("dev", "dev")
    assert other.kinds() == {"w1": "new"}
    other.image("feature", "feature")
    assert other.kinds() == {"feature": "new"}


def test_a_flood_of_tags_and_of_moves_costs_a_bounded_number_of_rows(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "KEPT_CHANGES", 3)
    monkeypatch.setattr(records, "MOST_EVENTS", 2)
    for number in range(6):
        watcher.image("latest", f"move {number}")
        for flood in range(3):
            watcher.image(f"{number}-{flood}", "flood")
        found = watcher(most_tags=5)
        assert "latest" in {one.tag for one in found.changes}, "what was watched before comes first"
        assert any("--most-tags" in remark for remark in found.remarks)
        for tag in [tag for tag in watcher.store.tagged if tag[1] == "-"]:
            del watcher.store.tagged[tag]
        watcher(most_tags=5)
    rows = _ask(watcher, "SELECT tag, count(*) FROM watched_changes GROUP BY tag")
    assert dict(rows)["latest"] == 3
    tags = watcher.catalog.watches.read(watcher.remote).tags
    assert sum(one.vanished_at is not None for one in tags.values()) == 5
    assert {tag for tag, _ in rows} <= tags.keys()


def test_many_changes_of_one_watch_have_one_event_for_the_rest(
    watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_EVENTS", 2)
    for number in range(3):
        watcher.image(f"a{number}", "new")
    watcher.image("v1.0.2", "moved")
    watcher()
    assert _actions(watcher) == ["watch-immutable-moved", "watch-more-changes", "watch-tag-new"]
    assert next(one for one in watcher.catalog.events.latest(name=watcher.remote) if "more" in one.action).detail == {
        "new": 2
    }


def test_two_watches_at_once_tell_a_move_once(watcher: Watcher) -> None:
    watches, now = watcher.catalog.watches, watcher.now + timedelta(minutes=5)
    base = watches.read(watcher.remote)
    stale = base.tags["latest"].digest
    assert stale is not None
    moved = watcher.image("latest", "another").digest
    seen = Sightings({"latest": SeenTag(moved)})
    terms = records.WatchTerms()
    assert [one.kind for one in watches.record(base, seen, terms, now=now)] == ["moved"]
    assert watches.record(base, seen, terms, now=now) == []
    late = Sightings({"latest": SeenTag(stale)})  # it began before the move, and ends after it
    assert watches.record(base, late, terms, now=now - timedelta(minutes=1)) == []
    assert watches.read(watcher.remote).tags["latest"].digest == moved


# --- signatures ---


def _sign_by_tag(store: MemoryStore, image: Manifest, signature: bytes = b"signed") -> None:
    payload = SimpleSignature(b"{}", signature)
    store.put_tag(f"sha256-{image.digest.encoded}.sig", pack_signature(store, None, payload).digest)


def _sign_by_bundle(store: MemoryStore, image: Manifest) -> tuple[Manifest, str]:
    signer = KeySigner(ec.generate_private_key(ec.SECP256R1()))
    made = pack_bundle(
        store, sign_statement(b"{}", signer), image, "https://sigstore.dev/cosign/sign/v1", "2026-01-01T00:00:00Z"
    )
    return made, f"key {signer.verifier.fingerprint}"


def test_signatures_are_asked_for_only_on_demand_and_read_once(watcher: Watcher) -> None:
    watcher.upstream.has_referrers = True
    image = watcher.image("latest", "signed")
    signature, signer = _sign_by_bundle(watcher.store, image)
    watcher()
    assert watcher.upstream.counts["GET", "referrers"] == 0
    first = watcher(signatures=True, include=("latest",))
    assert first.changes == ()
    watcher.upstream.forget()
    assert watcher(signatures=True).changes == ()
    digests = len({*watcher.store.tagged.values()})
    assert watcher.upstream.counts == {
        ("GET", "base"): 1, ("GET", "tags"): 1, ("HEAD", "manifest"): 4, ("GET", "referrers"): digests,
    }  # fmt: skip
    [row] = _ask(watcher, "SELECT signers FROM watched_tags WHERE tag = 'latest'")
    assert row == (signer,)
    del watcher.store.manifests[signature.digest]
    other, other_signer = _sign_by_bundle(watcher.store, image)
    [changed] = watcher(signatures=True).changes
    assert (changed.kind, changed.signers_before, changed.signers) == ("signer-changed", (signer,), (other_signer,))
    del watcher.store.manifests[other.digest]
    assert watcher.kinds(signatures=True) == {"latest": "signature-lost"}
    assert watcher.kinds(signatures=True) == {}


@pytest.mark.parametrize("status", [404, 429, 500])
def test_referrers_that_fail_lose_no_signature(watcher: Watcher, status: int) -> None:
    watcher.upstream.has_referrers = True
    _sign_by_bundle(watcher.store, watcher.image("latest", "signed"))
    watcher(signatures=True, include=("latest",))
    watcher.upstream.fail(status, route="referrers", retry_after="0")
    found = watcher(signatures=True, include=("latest",))
    assert found.changes == ()
    assert any("could not be read" in remark for remark in found.remarks)
    watcher.upstream.faults.clear()
    assert watcher.kinds(signatures=True, include=("latest",)) == {}


def test_a_signature_by_tag_is_lost_with_its_tag(watcher: Watcher) -> None:
    image = watcher.image("latest", "signed")
    _sign_by_tag(watcher.store, image)
    watcher(signatures=True)
    assert watcher.kinds(signatures=True) == {}, "tags of companions are none to watch"
    tag = next(tag for tag in watcher.store.tagged if tag.endswith(".sig"))
    watcher.upstream.fail(503, route="manifest", only=".sig")
    assert watcher.kinds(signatures=True, include=("latest",)) == {}
    watcher.upstream.faults.clear()
    del watcher.store.tagged[tag]
    assert watcher.kinds(signatures=True) == {"latest": "signature-lost"}


def test_a_malformed_signature_hides_no_other(watcher: Watcher) -> None:
    watcher.upstream.has_referrers = True
    image = watcher.image("latest", "signed")
    bad, _ = _sign_by_bundle(watcher.store, image)
    good, signer = _sign_by_bundle(watcher.store, image)
    watcher.upstream.fail(404, route="manifest", only=bad.digest)
    watcher(signatures=True)
    [row] = _ask(watcher, "SELECT signers FROM watched_tags WHERE tag = 'latest'")
    assert row == (f"{signer}, unreadable",)
    del watcher.store.manifests[good.digest]
    assert watcher.kinds(signatures=True) == {"latest": "signer-changed"}


# --- where from, and the command ---


def test_a_path_here_is_watched_at_its_upstream(watcher: Watcher) -> None:
    with pytest.raises(NotFound):
        find_upstreams(watcher.catalog, "mirror/app")
    from flows.sync.request import SyncRequest
    from tests.mirror import synced

    asyncio.run(synced(watcher.catalog, SyncRequest(remote=watcher.remote, repository="mirror/app")))
    [remote] = find_upstreams(watcher.catalog, "mirror/app")
    assert watched_name(remote) == watcher.remote


@pytest.mark.slow
def test_a_tag_of_a_real_registry_moves_back_and_is_deleted(
    children: Children, docker_registry: DockerRegistryFactory, tmp_path: Path
) -> None:
    entrepot, registry = Entrepot(new_home(tmp_path / "home", administrator=True), children), docker_registry()
    first = upload(registry, NAME, "v1.2.3", "one")
    upload(registry, NAME, "other", "other")
    remote = f"{registry.host}/{NAME}"
    assert entrepot.json("watch", remote)["upstreams"][0]["first"]
    upload(registry, NAME, "v1.2.3", "two")
    [moved] = entrepot.json("watch", remote, "--fail-on", "moved,vanished", code=1)["upstreams"][0]["changes"]
    assert (moved["kind"], moved["previous"], moved["severity"]) == ("moved", first.digest, "warning")
    upload(registry, NAME, "v1.2.3", "one")
    [back] = entrepot.json("watch", remote)["upstreams"][0]["changes"]
    assert (back["kind"], back["digest"]) == ("moved", first.digest)
    httpx.delete(f"{registry.url}/v2/{NAME}/manifests/{first.digest}").raise_for_status()
    done = entrepot("watch", remote, "--fail-on", "returned")
    assert (done.returncode, "vanished" in done.stdout) == (0, True), done.stdout + done.stderr
    assert entrepot("watch", remote, "--fail-on", "nonsense").returncode == 2
    assert entrepot.json("watch", remote, "--forget") == {"forgotten": [remote]}
    assert "was never watched" in entrepot("watch", remote, "--forget").stderr
    assert entrepot.json("watch", remote, "--on-move", "hold")["upstreams"][0]["first"]
