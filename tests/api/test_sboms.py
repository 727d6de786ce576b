"""SBOMs over HTTP: what is attached to an image, its packages, and packages of all paths, as far as the caller may pull."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.content.documents import LIMIT_OF_REQUESTS, ReadLimit
from catalog.distributions.records import Distribution
from catalog.holds.rules import HoldDecision, HoldRule
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import PolicyGateRule
from oci import mediatypes
from oci.digest import Digest
from registry_api.http.fair_queue import Slots
from registry_api.management.sboms import image_sboms, package_search, pulled_images
from tests.api.conftest import Api, codes, describe, serve, simple_manifest
from tests.api.test_policy_gates import document as policy_document
from tests.unit.catalog.search.test_package_rows import bundle, deb

PASSWORD = "correct horse"
CYCLONEDX = "application/vnd.cyclonedx+json"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """A registry; `bob` may pull team/**, `eve` pull other/** and push to team/**."""

    api: Api
    clock: Clock
    bob: httpx.Client = field(init=False)
    eve: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.bob, self.eve = (self.api.client((name, PASSWORD)) for name in ("bob", "eve"))
        for client in (self.bob, self.eve, self.api.anybody, self.api.admin):
            client.timeout = httpx.Timeout(120)  # a search starts a process

    def image(self, repository: str, tag: str = "v1") -> Digest:
        raw = simple_manifest(self.api, repository)
        assert self.api.put_manifest(repository, tag, raw).status_code == 201
        return Digest.of(raw)

    def attach(self, repository: str, subject: Digest, raw: bytes, kind: str = CYCLONEDX) -> Digest:
        config = self.api.push_blob(repository, b"{}")
        manifest = simple_manifest(
            self.api,
            repository,
            artifactType=kind,
            config=describe(config, 2, mediatypes.OCI_EMPTY),
            layers=[describe(self.api.push_blob(repository, raw), len(raw), kind)],
            subject=describe(subject, 100, mediatypes.OCI_MANIFEST),
        )
        answer = self.api.put_manifest(repository, Digest.of(manifest), manifest)
        assert answer.status_code == 201, answer.text
        return Digest.of(manifest)

    def push(self, repository: str, *packages: str, tag: str = "v1") -> tuple[Digest, Digest]:
        """Push an image with an SBOM."""
        image = self.image(repository, tag)
        return image, self.attach(repository, image, deb(*packages))

    def serve(self, path: str, repository: str, *, private: bool, version: int | None = None) -> None:
        made = Distribution(path, repository, NOW, NOW, version=version, private=private)
        self.api.catalog.distributions.put(made, actor="test")

    def make_private(self, *repositories: str) -> None:
        for name in repositories:
            self.serve(name, name, private=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry that the tests share, each in repositories and with packages of its own."""
    clock = Clock()
    with serve(tmp_path_factory.mktemp("sboms") / "entrepot", now=clock) as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state), api.catalog.events, actor="test", now=clock
        )
        for name, *grants in (("bob", "pull:team/**"), ("eve", "pull:other/**", "push:team/**")):
            desk.add_account(name, password=PASSWORD)
            for grant in grants:
                desk.add_rule([f"user:{name}"], parse_grant(grant))
        site = Site(api, clock)
        yield site
        site.bob.close()
        site.eve.close()


def sboms(client: httpx.Client, reference: str) -> httpx.Response:
    return client.get("/api/v1/sboms", params={"reference": reference})


def packages(client: httpx.Client, reference: str, **more: Any) -> httpx.Response:
    return client.get("/api/v1/sboms/packages", params={"reference": reference, **more})


def search(client: httpx.Client, package: str, **more: Any) -> dict[str, Any]:
    answer = client.get("/api/v1/sboms/search", params={"package": package, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def paths(client: httpx.Client, package: str, **more: Any) -> list[str]:
    return [one["path"] for one in search(client, package, **more)["packages"]]


def test_the_sboms_and_packages_of_an_image(site: Site) -> None:
    image, sbom = site.push("team/app", "curl@3.0.1", "zlib@1.2")
    signed = site.attach("team/app", image, bundle(deb("bash@5")), "application/vnd.dev.sigstore.bundle.v0.3+json")
    found = sboms(site.bob, "team/app:v1").json()
    assert (found["digest"], found["is_cut"]) == (image, False)
    assert {one["sbom"]: (one["image"], one["state"], one["format"], one["packages"]) for one in found["sboms"]} == {
        sbom: (image, "read", "CycloneDX-1.5", 2), signed: (image, "read", "CycloneDX-1.5", 1)
    }  # fmt: skip
    assert sboms(site.bob, f"team/app@{image}").json() == found
    listed = packages(site.bob, "team/app:v1").json()
    assert [(one["package"], one["version"]) for one in listed["packages"]] == [
        ("pkg:deb/debian/bash", "5"), ("pkg:deb/debian/curl", "3.0.1"), ("pkg:deb/debian/zlib", "1.2")
    ]  # fmt: skip
    assert (listed["total"], listed["sboms"], listed["is_cut"]) == (3, found["sboms"], False)
    second = packages(site.bob, "team/app:v1", n=1, skip=1).json()
    assert (second["packages"], second["total"]) == (listed["packages"][1:2], 3)


def test_an_image_without_sboms_and_content_that_is_not_there(site: Site) -> None:
    site.image("team/bare")
    assert sboms(site.bob, "team/bare").status_code == 404  # no tag `latest`
    assert sboms(site.bob, "team/bare:v1").json()["sboms"] == []
    assert packages(site.bob, "team/bare:v1").json()["total"] == 0
    assert packages(site.bob, "team/none:v1").status_code == 404
    for wrong in ("", "Team", "team/bare:", "team/bare@sha256:1", "team/bare:v2", f"team/bare@sha256:{64 * '0'}"):
        assert sboms(site.bob, wrong).status_code in {400, 404}, wrong


def test_only_who_may_pull_sees_sboms_and_packages(site: Site) -> None:
    """By tag, by digest, by the SBOM's own digest, at an earlier version and in a search, and no matter whether it is there."""
    image, sbom = site.push("team/closed", "closed@3")
    site.make_private("team/closed")
    site.image("team/mine")
    for ask in (sboms, packages):
        assert [ask(site.bob, one).status_code for one in ("team/closed:v1", "history/2/team/closed:v1")] == [200, 200]
        for digest in (image, sbom):  # a digest is no right
            assert ask(site.bob, f"team/mine@{digest}").status_code == 404
        for client, status in ((site.eve, 403), (site.api.anybody, 401)):
            for reference in (
                "team/closed:v1", f"team/closed@{image}", f"team/closed@{sbom}", "history/2/team/closed:v1", "team/x:v1"
            ):  # fmt: skip
                assert ask(client, reference).status_code == status, reference
    assert [paths(one, "closed") for one in (site.bob, site.eve, site.api.anybody)] == [["team/closed"], [], []]


def test_a_public_path_is_read_by_anybody_under_its_own_name(site: Site) -> None:
    image, _ = site.push("private/app", "shown@3")
    site.make_private("private/app")
    site.serve("other/shown", "private/app", private=False, version=2)
    site.push("private/app", "shown@4", tag="v2")
    for client in (site.bob, site.api.anybody):
        answers = [packages(client, one) for one in ("other/shown:v1", "other/shown:v2")]
        assert [one.status_code for one in answers] == [200, 404]
        assert (answers[0].json()["digest"], answers[0].json()["total"]) == (image, 1)
        assert not [one.text for one in answers if "private" in one.text]
    found = search(site.api.anybody, "shown")["packages"]
    assert [(one["path"], one["version"]) for one in found] == [("other/shown", "3")]


def test_search_by_range_and_url_page_by_page(site: Site) -> None:
    for number in range(3):
        site.push(f"team/many-{number}", f"many@3.0.{number}", "many-dev@9")
    (row,) = search(site.bob, "many", version="<3.0.1")["packages"]
    assert (row["path"], row["tags"], row["purl"]) == ("team/many-0", ["v1"], "pkg:deb/debian/many@3.0.0?arch=amd64")
    assert paths(site.bob, "pkg:deb/debian/many@3.0.2") == ["team/many-2"]
    first = search(site.bob, "many", n=2)
    second = search(site.bob, "many", n=2, last=first["last"])
    assert [one["path"] for one in first["packages"]] == ["team/many-0", "team/many-1"]
    assert [one["path"] for one in second["packages"]] == ["team/many-2"]
    assert (second["last"], second["is_cut"]) == ("", False)
    for wrong in ({"package": ""}, {"package": "a", "version": "<<"}, {"package": "a", "last": "x"},
                  {"package": "a", "n": 1001}, {"package": "a", "last": "W10="}):  # fmt: skip
        assert site.bob.get("/api/v1/sboms/search", params=wrong).status_code in {400, 422}, wrong  # type: ignore[arg-type]


def test_content_of_others_uses_up_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at for one page begins with what the caller may pull."""
    monkeypatch.setattr(package_search, "MOST_EXAMINED", 1)
    for number in range(2):
        site.push(f"aaa/app-{number}", f"rare@{number}")
        site.make_private(f"aaa/app-{number}")
    site.push("team/rare", "rare@7")
    site.api.catalog.holds.put_rule(HoldRule("aaa/**", timedelta(days=7), "test", site.clock()))
    found = search(site.bob, "rare")
    assert ([one["path"] for one in found["packages"]], found["is_cut"], found["last"]) == (["team/rare"], False, "")
    found = search(site.api.admin, "rare")
    assert (found["packages"], found["is_cut"], found["last"]) == ([], True, "")


def test_what_is_held_or_blocked_is_not_seen(site: Site) -> None:
    old, _ = site.push("team/held", "held@3")
    site.clock.now += timedelta(days=10)
    site.api.catalog.holds.put_rule(HoldRule("team/held", timedelta(days=7), "test", site.clock()))
    new, sbom = site.push("team/held", "held@4", tag="v2")
    for reference in ("team/held:v2", f"team/held@{new}"):
        for ask in (sboms, packages):
            assert codes(ask(site.bob, reference)) == ["DENIED"]
    assert sboms(site.bob, f"team/held@{sbom}").json()["sboms"] == []  # statements pass, what they are about does not
    assert packages(site.bob, f"team/held@{sbom}").json()["packages"] == []
    assert [one["version"] for one in search(site.bob, "held")["packages"]] == ["3"]
    block = HoldDecision(old, "block", "**", "CVE-2026-1", "test", site.clock(), "sec", None)
    site.api.catalog.holds.decide(block)
    site.clock.now += timedelta(days=8)
    assert codes(sboms(site.bob, f"team/held@{old}")) == ["DENIED"]
    assert [one["version"] for one in search(site.bob, "held")["packages"]] == ["4"]


def test_what_a_policy_gate_refuses_is_not_seen_and_nobody_is_told_of_a_pull(site: Site) -> None:
    image, _ = site.push("team/gated", "gated@3")
    site.push("other/free", "gated@3")
    policies = site.api.catalog.policies
    policies.set("release", make_policy(policy_document(), where="test"), actor="test", now=NOW)
    policies.set_gate(PolicyGateRule(pattern="team/gated", policy="release", at=("pull",), set_by="test", set_at=NOW))
    for client in (site.bob, site.eve, site.api.admin):  # eve may sign it, which is not to read it
        for ask in (sboms, packages):
            for reference in ("team/gated:v1", f"team/gated@{image}"):
                assert codes(ask(client, reference)) == ["DENIED"]
    assert paths(site.bob, "gated") == ["other/free"]
    policies.set("release", make_policy({"version": 1, "default": "allow"}, where="test"), actor="test", now=NOW)
    assert packages(site.bob, "team/gated:v1").json()["total"] == 1
    assert paths(site.bob, "gated") == ["other/free", "team/gated"]
    assert not [one for one in site.api.catalog.events.latest(name="team/gated") if one.action == "policy-refuse"]


def test_a_policy_that_cannot_decide_in_time_shows_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.push("team/slow", "slow@3")
    policies = site.api.catalog.policies
    policies.set("slow", make_policy({"version": 1, "default": "allow"}, where="test"), actor="test", now=NOW)
    policies.set_gate(PolicyGateRule(pattern="team/slow", policy="slow", at=("pull",), set_by="test", set_at=NOW))
    for module in (package_search, pulled_images):
        monkeypatch.setattr(module, "PATIENCE", 0.0)
    assert codes(packages(site.bob, "team/slow:v1")) == ["DENIED"]
    found = search(site.bob, "slow")
    assert (found["packages"], found["is_cut"]) == ([], True)


def test_reading_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = site.push("team/large", "large@3")
    site.attach("team/large", image, deb("bash@5"))
    monkeypatch.setattr(image_sboms, "LIMIT_OF_REQUESTS", ReadLimit(layers=1, each=10**6, all=10**6))
    assert LIMIT_OF_REQUESTS.all <= 16 * 2**20
    found = packages(site.bob, "team/large:v1").json()
    assert (found["total"], found["is_cut"], sboms(site.bob, "team/large:v1").json()["is_cut"]) == (1, True, True)
    monkeypatch.setattr(image_sboms, "LIMIT_OF_REQUESTS", ReadLimit(layers=9, each=10**6, all=len(deb("large@3")) + 10))
    found = packages(site.bob, "team/large:v1").json()
    assert (found["total"], sorted(one["state"] for one in found["sboms"]), found["is_cut"]) == (
        1, ["read", "too-large"], True
    )  # fmt: skip


def test_a_search_takes_a_slot_of_the_questions(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one search runs at a time, so that a slot is left for the questions of administrators."""
    held, most = list[int](), site.api.catalog.settings.query_concurrency
    hold = Slots.hold

    @contextmanager
    def counted(slots: Slots, limit: int) -> Iterator[None]:
        with hold(slots, limit):
            held.append(slots._held)
            yield

    monkeypatch.setattr(Slots, "hold", counted)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda client: paths(client, "none"), (site.bob, site.eve, site.api.anybody)))
    assert (found, held, most) == ([[], [], []], [1, 1, 1], 2)
