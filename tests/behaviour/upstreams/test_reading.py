"""Each odd upstream of the table is synced, served through a cache, and replicated: all that its digests prove is taken."""

import asyncio
import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from catalog.distributions.records import Distribution
from catalog.versions.snapshot import Snapshot
from flows.sync.request import SyncRequest
from oci.digest import Digest
from oci.errors import RemoteCorrupt
from oci.memory import MemoryStore
from oci.reference import is_tag
from tests.api.conftest import Api, serve
from tests.behaviour.upstreams.reading import NAME, READING, Content, Odd, make_content
from tests.mirror import synced
from tests.upstream import Reply, Seen, Upstream

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Case(NamedTuple):
    name: str
    odd: Odd
    upstream: Upstream
    content: Content


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("odd") / "entrepot", upstream_attempts=1) as running:
        yield running


@pytest.fixture(params=READING)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    name, content = request.param, make_content()
    with Upstream({NAME: content.store}) as upstream:
        upstream.has_referrers = True
        READING[name].make(upstream, content)
        yield Case(name, READING[name], upstream, content)


def sync(api: Api, case: Case, target: str, **fields: object) -> tuple[Snapshot, list[str], dict[str, int]]:
    request = SyncRequest.model_validate(
        {
            "remote": f"http://{case.upstream.host}/{NAME}",
            "repository": target,
            "mode": "mirror",
            "on_error": "skip",
            **fields,
        }
    )
    result = asyncio.run(synced(api.catalog, request))
    return api.catalog.snapshots.get(target), list(result.notes), dict(result.counts)


def test_it_is_synced(case: Case, api: Api) -> None:
    target = f"synced/{case.name}"
    snapshot, notes, counts = sync(api, case, target)
    wanted = case.content.tags - set(case.odd.failed)
    if case.odd.cut:
        assert {"v1", "x0001"} <= snapshot.tags.keys()
    else:
        assert {tag for tag in snapshot.tags if not tag.startswith("sha256-")} == wanted
    assert counts.get("failed", 0) == len(case.odd.failed)
    check_held(api, snapshot, case.content, wanted & snapshot.tags.keys())
    assert (case.content.referrer in snapshot.manifests) != case.odd.absent
    for pattern in case.odd.notes:
        assert [note for note in notes if re.search(pattern, note)], notes
    if not case.odd.notes:
        assert notes == []
    assert len(notes) == len(set(notes))
    for what, most in case.odd.requests.items():
        assert case.upstream.counts[what] <= most


def check_held(api: Api, snapshot: Snapshot, content: Content, tags: set[str]) -> None:
    """All that tags point to is here, byte for byte."""
    for tag in tags:
        waiting = [content.store.tagged[tag]]
        assert snapshot.tags[tag] == waiting[0]
        while waiting:
            manifest = content.store.manifests[Digest(waiting.pop())]
            assert api.catalog.content.read(manifest.digest) == manifest.raw
            for _role, part in manifest.children():
                if part.digest in content.store.manifests:
                    waiting.append(part.digest)
                else:
                    assert api.catalog.content.read(part.digest) == content.store.blobs[part.digest]


def test_a_cache_of_it_serves_it(case: Case, api: Api) -> None:
    path = f"caches/{case.name}"
    cache = Distribution(path, "", NOW, NOW, remote=f"http://{case.upstream.host}", fresh_seconds=3600)
    api.catalog.distributions.put(cache, actor="admin")
    listed = set(api.anybody.get(f"/v2/{path}/{NAME}/tags/list").json()["tags"])
    assert all(map(is_tag, listed))
    assert listed >= {"v1", "v2"} if case.odd.cut else listed == set(case.content.store.tagged)
    for tag in {"v1", "v2"} - set(case.odd.failed):
        answer = api.anybody.get(f"/v2/{path}/{NAME}/manifests/{tag}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["docker-content-digest"] == case.content.store.tagged[tag]
        assert answer.content == case.content.store.manifests[case.content.store.tagged[tag]].raw
    for tag in case.odd.failed:
        assert api.anybody.get(f"/v2/{path}/{NAME}/manifests/{tag}").status_code == 502
    blob = api.anybody.get(f"/v2/{path}/{NAME}/blobs/{case.content.layer}")
    assert blob.content == case.content.store.blobs[case.content.layer]
    subject = case.content.store.tagged["v1"]
    referrers = api.anybody.get(f"/v2/{path}/{NAME}/referrers/{subject}")
    assert referrers.status_code == 200
    if not case.odd.absent:
        assert [one["digest"] for one in referrers.json()["manifests"]] == [case.content.referrer]


def test_what_a_list_may_lack_is_not_removed(api: Api) -> None:
    """A mirror that was whole stays so when the list is cut."""
    content = make_content()
    with Upstream({NAME: content.store}) as upstream:
        case = Case("shrinking", READING["link-that-does-not-say-what-it-is"], upstream, content)
        before, _notes, _counts = sync(api, case, "synced/shrinking")
        case.odd.make(upstream, content)
        after, notes, counts = sync(api, case, "synced/shrinking")
        assert before.tags.keys() <= after.tags.keys()
        assert "removed" not in {key for key, count in counts.items() if count}
        assert any("nothing is removed" in note for note in notes)


def test_a_bomb_is_not_unpacked(api: Api) -> None:
    """What decodes to more than an answer may have is not read to its end."""
    bomb = gzip.compress(gzip.compress(b" " * 200_000_000, 9), 9)
    store = MemoryStore(NAME)
    with Upstream({NAME: store}) as upstream:

        def fault(seen: Seen, _good: Reply) -> Reply | None:
            headers = {"content-encoding": "gzip, gzip", "content-type": "application/json"}
            return Reply(200, bomb, headers) if seen.route == "tags" else None

        upstream.faults.append(fault)
        case = Case("bomb", READING["nothing-odd"], upstream, make_content())
        with pytest.raises(RemoteCorrupt, match="sent more than 67108864 bytes"):
            sync(api, case, "synced/bomb")
