"""Responses that cost much are made once for all who ask, few at a time, and never told once they are no longer so."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from registry_api.http.response_cache import ResponseCache, body_size
from tests.api.conftest import Api, serve, simple_manifest

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("costs") / "entrepot") as api:
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state), api.catalog.events, actor="test", now=lambda: NOW
        )
        desk.add_account("bob", password=PASSWORD)
        for name in ("team/one", "team/two"):
            assert api.put_manifest(name, "v1", simple_manifest(api, name)).status_code == 201
        yield api


def counted(monkeypatch: pytest.MonkeyPatch, api: Api, name: str) -> list[str]:
    calls: list[str] = []
    part, _, method = name.rpartition(".")
    owner = getattr(api.catalog, part)
    real: Callable[..., Any] = getattr(owner, method)

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, method, counting)
    return calls


@pytest.mark.parametrize(
    ("url", "method"),
    [("/index/static", "query.images"), ("/index/dynamic?os=linux", "query.images"),
     ("/api/v1/distributions", "serving.content_marks"), ("/api/v1/repositories", "history.repositories")],
)  # fmt: skip
def test_many_who_ask_the_same_cost_one_question(
    site: Api, monkeypatch: pytest.MonkeyPatch, url: str, method: str
) -> None:
    calls = counted(monkeypatch, site, method)

    def ask(_number: int) -> tuple[int, str]:
        with site.client() as client:
            answers = [client.get(url) for _ in range(3)]
            return answers[0].status_code, answers[-1].text

    with ThreadPoolExecutor(16) as pool:
        assert len({*pool.map(ask, range(16))}) == 1
    assert len(calls) == 1
    with site.client() as client:
        etag = client.get(url).headers.get("etag")
        if etag:
            assert client.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert len(calls) == 1
    site.admin.get("/v2/team/one/manifests/v1")
    assert (
        site.put_manifest("team/one", f"v{len(calls)}-{method}", simple_manifest(site, "team/one")).status_code == 201
    )
    ask(0)
    assert len(calls) == 2


def listed(api: Api) -> dict[str, list[str]]:
    """Answers to an anonymous caller, by place."""
    client = api.anybody
    return {
        "catalog": client.get("/v2/_catalog").json()["repositories"],
        "distributions": [one["path"] for one in client.get("/api/v1/distributions").json()["distributions"]],
        "index": [one["Name"] for one in client.get("/index/static").json()["Results"]],
    }


def test_what_is_no_longer_public_is_not_told(site: Api) -> None:
    name = "team/two"
    for private in (True, False, True, False):
        found = site.catalog.distributions.get(name)
        site.catalog.distributions.put(replace(found, private=private), actor="admin")
        assert {place: name in names for place, names in listed(site).items()} == dict.fromkeys(
            ("catalog", "distributions", "index"), not private
        )
    with open_catalog(site.catalog.settings) as other:  # as another process would
        other.distributions.put(Distribution("by/another", name, NOW, NOW), actor="admin")
    assert "by/another" in listed(site)["catalog"]
    site.catalog.distributions.delete("by/another", actor="admin")
    assert "by/another" not in listed(site)["distributions"]


def test_lists_are_each_callers_own(site: Api) -> None:
    name = "team/hidden"
    site.put_manifest(name, "v1", simple_manifest(site, name))
    site.admin.put(f"/api/v1/distributions/{name}", json={"repository": name, "private": True})
    with site.client(("bob", PASSWORD)) as bob:
        for client, sees in ((bob, False), (site.admin, True), (site.anybody, False), (bob, False)):
            assert (name in client.get("/v2/_catalog").json()["repositories"]) is sees
            assert (name in client.get("/api/v1/distributions").text) is sees
            assert (name in client.get("/api/v1/repositories").text) is sees
        desk = Administration(
            AccessStore(site.catalog.settings, site.catalog.state), site.catalog.events, actor="test", now=lambda: NOW
        )
        made = desk.add_rule(["user:bob"], parse_grant(f"pull:{name}"))
        assert name in bob.get("/v2/_catalog").json()["repositories"]
        desk.remove_rule(made.id)
        assert name not in bob.get("/v2/_catalog").json()["repositories"]


def test_pages_are_as_before(site: Api) -> None:
    every = site.anybody.get("/v2/_catalog").json()["repositories"]
    first = site.anybody.get("/v2/_catalog", params={"n": 1})
    assert first.json()["repositories"] == every[:1]
    assert (
        site.anybody.get(first.headers["link"].partition("<")[2].partition(">")[0]).json()["repositories"] == every[1:2]
    )


def test_answers_are_few_at_a_time_bounded_and_fair() -> None:
    async def run() -> None:
        answers, running, most, made = ResponseCache(limit=4000), 0, 0, list[str]()

        def make(name: str) -> Callable[[], Any]:
            async def work() -> bytes:
                nonlocal running, most
                running += 1
                most = max(most, running)
                made.append(name)
                for _ in range(3):
                    await asyncio.sleep(0)
                running -= 1
                return name.encode() * 100

            return work

        flood = [
            asyncio.ensure_future(answers.get(("flood", number), 1, "flood", make("f"), body_size))
            for number in range(40)
        ]
        await asyncio.sleep(0)
        assert await answers.get("other", 1, "other", make("o"), body_size) == b"o" * 100
        assert made.index("o") < 10
        await asyncio.gather(*flood)
        assert most == 2
        assert sum(kept.size for kept in answers._entries.values()) <= 4000
        before = len(made)
        assert await answers.get("other", 2, "other", make("n"), body_size) == b"n" * 100
        assert await answers.get("other", 2, "other", make("x"), body_size) == b"n" * 100
        assert len(made) == before + 1

    asyncio.run(run())


def test_an_answer_that_fails_is_tried_again() -> None:
    async def run() -> None:
        answers = ResponseCache()

        async def fail() -> bytes:
            raise OSError

        async def work() -> bytes:
            return b"x"

        for _ in range(2):
            with pytest.raises(OSError):  # it has no message
                await answers.get("a", 1, "", fail, body_size)
        assert await answers.get("a", 1, "", work, body_size) == b"x"

    asyncio.run(run())
