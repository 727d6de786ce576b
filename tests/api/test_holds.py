"""Holds as clients meet them: a mirror and a cache of an upstream whose tag is moved for some hours, and back."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from catalog.distributions.records import Distribution
from catalog.holds.rules import HoldDecision, HoldRule
from flows.sync.context import SyncContext
from flows.sync.procedure import run_sync
from flows.sync.request import SyncRequest
from flows.sync.sources import Member, MultipleSources
from oci.digest import Digest
from oci.errors import CatalogUnavailable
from oci.kinds import COSIGN_LAYER, signature_tag
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from oci.signing.cosign import pack_signature, sign_simple
from oci.signing.key_files import generate_key
from tests.api.conftest import Api, codes, serve, simple_manifest
from tests.flows.conftest import MemoryUpstream
from tests.posing import posing_image
from tests.servers import Client
from tests.upstream import Upstream

NAME = "team/app"
PATHS = ("mirror/app", f"cache/{NAME}")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Clock:
    """A clock that is set."""

    now: datetime = datetime(2026, 11, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """A registry with a mirror and a cache of one upstream, all of one clock."""

    api: Api
    clock: Clock
    store: MemoryStore
    upstream: Upstream
    runs: "itertools.count[int]" = field(default_factory=itertools.count)

    def sync(self) -> None:
        request = SyncRequest.model_validate(
            {"remote": f"{self.upstream.host}/{NAME}", "repository": "mirror/app", "mode": "mirror"}
        )
        sources = MultipleSources([Member(request, MemoryUpstream(self.store))])
        context = SyncContext.of(
            request, self.api.catalog, sources, operation_id=f"run-{next(self.runs)}", clock=self.clock
        )
        asyncio.run(run_sync(context))

    def hold(self, pattern: str, days: float = 7, *, trust_created: bool = False) -> None:
        rule = HoldRule(pattern, timedelta(days=days), "test", self.clock(), trust_created)
        self.api.catalog.holds.put_rule(rule)

    def decide(self, digest: Digest, action: str, path: str = "**", days: float | None = None) -> None:
        expires = None if days is None else self.clock() + timedelta(days=days)
        self.api.catalog.holds.decide(
            HoldDecision(digest, action, path, "CVE-2026-1", "test", self.clock(), "sec", expires)  # type: ignore[arg-type]
        )

    def get(self, path: str, reference: str, method: str = "GET") -> httpx.Response:
        return self.api.anybody.request(method, f"/v2/{path}/manifests/{reference}")

    def digests(self, path: str, reference: str) -> set[str]:
        """What GET and HEAD of a tag or digest lead to: digests, or the codes of errors."""
        got = self.get(path, reference)
        found = {got.headers["docker-content-digest"] if got.status_code == 200 else codes(got)[0]}
        headed = self.get(path, reference, "HEAD")
        return found | {headed.headers["docker-content-digest"] if headed.status_code == 200 else found.pop()}

    def tags(self, path: str) -> list[str]:
        return list(self.api.anybody.get(f"/v2/{path}/tags/list").json()["tags"])


def image(store: MemoryStore, text: str, **fields: object) -> Manifest:
    return pack_image(store, [{"file": text}], **fields)  # type: ignore[arg-type]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    store, clock = MemoryStore(), Clock()
    with Upstream({NAME: store}) as upstream, serve(tmp_path / "entrepot", now=clock) as api:
        cache = Distribution("cache", "", clock(), clock(), remote=upstream.host, fresh_seconds=0)
        api.catalog.distributions.put(cache, actor="test")
        yield Site(api, clock, store, upstream)


def set_index(store: MemoryStore, text: str) -> Manifest:
    """Have upstream's `v1` point to an index of one image."""
    index = pack_index(store, [(image(store, text), Platform("linux", "amd64"))])
    store.put_tag("v1", index.digest)
    return index


def test_no_client_gets_what_upstream_had_for_three_hours(site: Site) -> None:
    good = set_index(site.store, "good")
    site.sync()
    assert site.digests(PATHS[1], "v1") == {good.digest}
    child = good.manifests[0].digest
    assert site.digests(PATHS[1], child) == {child}
    site.clock.now += 10 * DAY
    for path in ("mirror/**", "cache/**"):
        site.hold(path)

    bad = set_index(site.store, "bad")
    bad_image = site.store.manifests[bad.manifests[0].digest]
    for _ in range(3):
        site.clock.now += HOUR
        site.sync()
        for path in PATHS:
            assert site.digests(path, "v1") == {good.digest}
            assert site.digests(path, child) == {child}
            for digest in (bad.digest, bad_image.digest):
                assert site.digests(path, digest) == {"DENIED"}, path
            for part in (bad_image.config, *bad_image.layers):
                assert part is not None
                answer = site.api.anybody.get(f"/v2/{path}/blobs/{part.digest}")
                shared = part.digest in {one.digest for _, one in site.store.manifests[child].children()}
                assert shared or codes(answer) == ["DENIED"]
            for _, part in site.store.manifests[child].children():
                assert site.api.anybody.get(f"/v2/{path}/blobs/{part.digest}").status_code == 200
    assert site.api.catalog.snapshots.get("mirror/app").tags["v1"] == bad.digest

    site.store.put_tag("v1", good.digest)
    site.clock.now += HOUR
    site.sync()
    for path in PATHS:
        assert site.digests(path, "v1") == {good.digest}
        assert bad.digest not in site.digests(path, bad.digest)


def test_a_held_digest_is_pulled_once_its_time_has_come_or_it_is_released(site: Site) -> None:
    site.hold("**")
    first = set_index(site.store, "first")
    site.sync()
    for path in PATHS:
        answer = site.get(path, "v1")
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
        error = answer.json()["errors"][0]
        assert "until 2026-11-08T00:00:00Z" in error["message"]
        assert error["detail"]["until"] == "2026-11-08T00:00:00Z"
        assert site.tags(path) == []
    site.decide(first.digest, "release", "mirror/*", days=1)
    assert site.digests(PATHS[0], "v1") == {first.digest}
    assert site.digests(PATHS[0], first.manifests[0].digest) == {first.manifests[0].digest}
    assert site.tags(PATHS[0]) == ["v1"]
    assert site.digests(PATHS[1], "v1") == {"DENIED"}
    site.clock.now += DAY
    assert site.digests(PATHS[0], "v1") == {"DENIED"}
    site.clock.now += 6 * DAY - HOUR
    assert [site.digests(path, "v1") for path in PATHS] == [{"DENIED"}] * 2
    site.clock.now += HOUR
    assert [site.digests(path, "v1") for path in PATHS] == [{first.digest}] * 2
    site.decide(first.digest, "block")
    for path in PATHS:
        assert site.digests(path, "v1") == {"DENIED"}
        assert "is blocked by sec: CVE-2026-1" in site.get(path, "v1").json()["errors"][0]["message"]
        child = first.manifests[0].digest
        assert site.digests(path, child) == {"DENIED"}
    site.api.catalog.holds.withdraw(first.digest, "**", actor="test", now=site.clock())
    assert [site.digests(path, "v1") for path in PATHS] == [{first.digest}] * 2
    actions = [event.action for event in site.api.catalog.events.latest(actor="test", limit=20)]
    assert {"set-hold", "release-digest", "block-digest", "withdraw-block"} <= set(actions)


def test_a_tag_says_that_it_is_not_at_its_newest(site: Site) -> None:
    old = image(site.store, "old")
    site.store.put_tag("v1", old.digest)
    site.sync()
    site.clock.now += 8 * DAY
    site.hold("mirror/app")
    new = image(site.store, "new")
    site.store.put_tag("v1", new.digest)
    site.store.put_tag("v2", new.digest)
    site.sync()
    answer = site.get("mirror/app", "v1")
    assert answer.headers["docker-content-digest"] == old.digest
    assert f"tag v1 is at {old.digest} here, since {new.digest} is held" in answer.headers["warning"]
    assert site.tags("mirror/app") == ["v1"]
    assert codes(site.get("mirror/app", "v2")) == ["DENIED"]


def test_the_newest_that_passes_is_found_through_several_moves_a_deletion_and_a_new_start(site: Site) -> None:
    def step(text: str | None, wait: timedelta = DAY) -> Digest | None:
        if text is None:
            del site.store.tagged["v1"]
        else:
            site.store.put_tag("v1", image(site.store, text).digest)
        site.store.put_tag("other", image(site.store, "other").digest)
        site.sync()
        site.clock.now += wait
        return site.store.tagged.get("v1")

    step("one"), step("two")
    three = step("three", 7 * DAY)
    site.hold("**")
    step(None), step("four"), step("five")
    assert site.digests("mirror/app", "v1") == {three}
    site.clock.now += 5 * DAY  # "four" came seven days ago, "five" six
    assert site.digests("mirror/app", "v1") == {Digest(image(site.store, "four").digest)}
    # What was squashed keeps its age.
    latest = site.api.catalog.snapshots.get("mirror/app").version
    site.clock.now += DAY
    site.api.catalog.deletion.delete_versions(
        "mirror/app", [range(1, latest)], actor="test", now=site.clock(), dry_run=False
    )
    assert site.digests("mirror/app", "v1") == {Digest(image(site.store, "five").digest)}


def test_history_and_other_paths_are_no_way_round(site: Site) -> None:
    held = image(site.store, "held")
    site.store.put_tag("v1", held.digest)
    site.sync()
    now = site.clock()
    site.api.catalog.distributions.put(Distribution("public/app", "mirror/app", now, now, version=1), actor="test")
    assert [site.digests(path, "v1") for path in ("history/1/mirror/app", "public/app")] == [{held.digest}] * 2
    site.hold("mirror/**")
    for path in ("mirror/app", "history/1/mirror/app", "public/app"):
        assert site.digests(path, "v1") == {"DENIED"}
        assert site.digests(path, held.digest) == {"DENIED"}
    site.api.catalog.holds.delete_rule("mirror/**", actor="test", now=site.clock())
    assert site.digests("mirror/app", "v1") == {held.digest}
    site.api.catalog.distributions.put(Distribution("other/app", "mirror/app", now, now, history_from=1), actor="test")
    site.hold("other/**")
    assert site.digests("mirror/app", "v1") == {held.digest}
    assert [site.digests(path, "v1") for path in ("other/app", "history/1/other/app")] == [{"DENIED"}] * 2


def test_what_another_repository_of_the_same_upstream_had_before_is_known(site: Site) -> None:
    known = image(site.store, "known")
    site.store.put_tag("v1", known.digest)
    assert site.digests(f"cache/{NAME}", "v1") == {known.digest}
    site.clock.now += 8 * DAY
    site.hold("mirror/**")
    site.sync()
    assert site.digests("mirror/app", "v1") == {known.digest}


def test_signatures_of_what_is_released_are_listed_and_held_referrers_are_not(site: Site) -> None:
    subject = image(site.store, "subject")
    site.store.put_tag("v1", subject.digest)
    site.sync()
    site.clock.now += 8 * DAY
    site.hold("**")
    sbom = pack_artifact(site.store, "application/spdx+json", [("application/spdx+json", b"{}")], subject=subject)
    program = image(site.store, "program", subject=subject)
    for manifest in (sbom, program):
        site.api.push("mirror/app", manifest.digest, site.store, manifest)
    listed = site.api.anybody.get(f"/v2/mirror/app/referrers/{subject.digest}").json()["manifests"]
    assert [one["digest"] for one in listed] == [sbom.digest]
    assert site.digests("mirror/app", sbom.digest) == {sbom.digest}
    assert site.digests("mirror/app", program.digest) == {"DENIED"}


def test_an_image_whose_layers_have_the_types_of_signatures_is_held(site: Site) -> None:
    subject = image(site.store, "subject")
    site.hold("own/**")
    signature = pack_signature(site.store, None, sign_simple(subject.digest, "own/app", generate_key("ed25519")))
    for tag, manifest in ((signature_tag(subject.digest), signature), ("v1", posing_image(site.store, COSIGN_LAYER))):
        site.api.push("own/app", tag, site.store, manifest)
    assert site.digests("own/app", signature_tag(subject.digest)) == {signature.digest}
    assert site.digests("own/app", "v1") == {"DENIED"}


def test_a_push_below_a_hold_goes_on_and_its_tag_steps_back(site: Site) -> None:
    api = site.api
    raw = simple_manifest(api, "own/app")
    assert api.put_manifest("own/app", "v1", raw).status_code == 201
    site.clock.now += 8 * DAY
    site.hold("own/**")
    again = simple_manifest(api, "own/app", annotations={"a": "b"})
    layer = Digest(again.decode().split('"digest": "')[2].split('"')[0])
    assert api.put_manifest("own/app", "v1", again).status_code == 201
    assert site.digests("own/app", "v1") == {str(Digest.of(raw))}
    assert api.admin.head(f"/v2/own/app/blobs/{layer}").status_code == 404  # so that clients push it again
    assert api.anybody.head(f"/v2/own/app/blobs/{layer}").status_code == 403
    assert codes(api.admin.get(f"/v2/own/app/blobs/{layer}")) == ["DENIED"]
    third = image(site.store, "third", annotations={"a": "c"})
    for _ in range(2):
        api.push("own/app", "v1", site.store, third)
    assert site.digests("own/app", "v1") == {str(Digest.of(raw))}


def test_a_statement_that_names_a_held_layer_opens_it_to_nobody(site: Site) -> None:
    site.hold("own/**")
    held = image(site.store, "held")
    site.api.push("own/app", "v1", site.store, held)
    layer = held.layers[0].digest
    sbom = ("application/spdx+json", site.store.blobs[layer])
    posing = pack_artifact(site.store, "application/spdx+json", [sbom])
    site.api.push("own/app", "statement", site.store, posing)
    assert site.digests("own/app", "statement") == {posing.digest}
    assert codes(site.api.anybody.get(f"/v2/own/app/blobs/{layer}")) == ["DENIED"]
    assert posing.config is not None
    assert site.api.anybody.get(f"/v2/own/app/blobs/{posing.config.digest}").status_code == 200
    site.clock.now += 8 * DAY
    assert site.api.anybody.get(f"/v2/own/app/blobs/{layer}").status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_held_blobs_are_not_mounted_elsewhere(site: Site, path: str) -> None:
    api = site.api
    good = image(site.store, "good")
    site.store.put_tag("v1", good.digest)
    site.sync()
    assert site.digests(PATHS[1], "v1") == {good.digest}
    assert api.anybody.get(f"/v2/{PATHS[1]}/blobs/{good.layers[0].digest}").status_code == 200
    site.clock.now += 8 * DAY
    site.hold("mirror/**")
    site.hold("cache/**")
    bad = image(site.store, "bad")
    site.store.put_tag("v1", bad.digest)
    site.sync()
    assert site.digests(path, "v1") == {good.digest}
    layer = bad.layers[0].digest

    def mounted(blob: Digest, source: str) -> int:
        return api.admin.post(f"/v2/own/app/blobs/uploads/?mount={blob}{source}").status_code

    history = f"&from=history/2/{path}"
    assert [mounted(layer, source) for source in (f"&from={path}", history, "")] == [202, 202, 202]
    assert api.anybody.head(f"/v2/{path}/blobs/{layer}").status_code == 403
    assert mounted(good.layers[0].digest, f"&from={path}") == 201
    site.store.put_tag("v1", good.digest)
    site.sync()  # the mirror's latest version no longer names it
    assert [mounted(layer, source) for source in (f"&from={path}", history, "")] == [202, 202, 202]
    assert api.anybody.get(f"/v2/{path}/blobs/{layer}").status_code == 403
    assert api.anybody.head(f"/v2/{path}/blobs/{layer}").status_code == 403


def test_the_index_of_flatpak_lists_no_held_image(site: Site) -> None:
    labels = {"org.flatpak.ref": "app/org.example.App/x86_64/stable"}
    flatpak = image(site.store, "flatpak", config={"Labels": labels})
    site.store.put_tag("latest", flatpak.digest)
    site.sync()
    query = {"label:org.flatpak.ref:exists": "1"}

    def listed() -> list[str]:
        found = site.api.anybody.get("/index/static", params=query).json()["Results"]
        return [one["Digest"] for result in found for one in result["Images"]]

    assert listed() == [flatpak.digest]
    site.hold("mirror/**")
    assert listed() == []
    site.clock.now += 8 * DAY
    assert listed() == [flatpak.digest]


def test_a_path_without_a_rule_and_a_rule_that_is_gone_cost_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_of = image(site.store, "free")
    site.store.put_tag("v1", image_of.digest)
    site.sync()
    site.hold("elsewhere/**")
    assert site.digests("mirror/app", "v1") == {image_of.digest}
    made: list[str] = []
    monkeypatch.setattr(site.api.catalog.facts, "read", lambda *args, **_: made.append(args[0]))
    for _ in range(3):
        assert site.digests("mirror/app", "v1") == {image_of.digest}
    assert made == []


def test_holds_by_http(site: Site) -> None:
    api = site.api
    held = image(site.store, "held")
    site.store.put_tag("v1", held.digest)
    site.sync()
    for method, url in (
        ("GET", "/holds"), ("PUT", "/holds"), ("DELETE", "/holds?pattern=x"), ("POST", "/holds/decisions"),
        ("DELETE", f"/holds/decisions?digest={held.digest}"),
    ):  # fmt: skip
        assert api.anybody.request(method, f"/api/v1{url}", json={}).status_code == 401, url
    rule = {"pattern": "mirror/**", "duration": "1w2d", "trust_created": False}
    assert (
        api.admin.put("/api/v1/holds", json=rule).json().items() >= {**rule, "duration": "9d", "actor": "admin"}.items()
    )
    for wrong in ({"duration": "soon"}, {"duration": "0"}, {"duration": "999999999w"}, {"pattern": "A"}):
        assert api.admin.put("/api/v1/holds", json={**rule, **wrong}).status_code == 400, wrong
    assert site.digests("mirror/app", "v1") == {"DENIED"}
    found = api.admin.get("/api/v1/holds", params={"held": True}).json()
    assert [(one["path"], one["digest"], one["tags"], one["until"]) for one in found["held"]] == [
        ("mirror/app", held.digest, ["v1"], "2026-11-10T00:00:00Z")
    ]
    decision = {
        "digest": held.digest,
        "action": "release",
        "reason": "fixes a hole",
        "path": "mirror/*",
        "duration": "12h",
    }
    made = api.admin.post("/api/v1/holds/decisions", json=decision)
    assert (made.status_code, made.json()["expires_at"]) == (201, "2026-11-01T12:00:00Z")
    assert site.digests("mirror/app", "v1") == {held.digest}
    for wrong in (
        {"reason": " "},
        {"digest": "sha256:x"},
        {"action": "let"},
        {"duration": "0s"},
        {"reason": "x" * 501},
    ):
        assert api.admin.post("/api/v1/holds/decisions", json={**decision, **wrong}).status_code == 400, wrong
    named = api.admin.post("/api/v1/holds/decisions", json={**decision, "digest": "mirror/app:v1"})
    assert (named.status_code, "`entrepot hold list --held` shows" in named.text) == (400, True)
    query = {"digest": held.digest, "path": "mirror/*"}
    assert [api.admin.delete("/api/v1/holds/decisions", params=query).status_code for _ in range(2)] == [204, 404]
    assert site.digests("mirror/app", "v1") == {"DENIED"}
    assert [api.admin.delete("/api/v1/holds", params={"pattern": "mirror/**"}).status_code for _ in range(2)] == [
        204,
        404,
    ]
    assert site.digests("mirror/app", "v1") == {held.digest}


def test_a_replica_is_not_told_that_a_held_path_is_unchanged(site: Site) -> None:
    """What is served below a hold changes by itself, once its time has come."""
    held = image(site.store, "held")
    site.store.put_tag("v1", held.digest)
    site.sync()

    def mark() -> str:
        listed = site.api.admin.get("/api/v1/distributions").json()["distributions"]
        return str(next(one["content"] for one in listed if one["path"] == "mirror/app"))

    before = mark()
    site.hold("mirror/**")
    assert (len(before), mark()) == (32, "")
    site.api.catalog.holds.delete_rule("mirror/**", actor="test", now=site.clock())
    assert mark() == before


def test_a_pull_that_cannot_be_judged_is_not_served(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.put_tag("v1", image(site.store, "one").digest)
    site.sync()
    site.hold("mirror/**")

    def fail(*_: object, **__: object) -> None:
        raise CatalogUnavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(site.api.catalog.facts, "read", fail)
        assert site.get("mirror/app", "v1").status_code == 503
    assert site.digests("mirror/app", "v1") == {"DENIED"}


def test_podman_shows_why_a_held_image_is_not_pulled(site: Site, podman: Client) -> None:
    site.store.put_tag("v1", image(site.store, "held").digest)
    site.sync()
    site.hold("mirror/**")
    pulled = podman("pull", "--tls-verify=false", f"127.0.0.1:{site.api.port}/mirror/app:v1", check=False)
    assert pulled.returncode != 0
    assert "is held for 1w below mirror/**, until 2026-11-08T00:00:00Z" in pulled.stderr
