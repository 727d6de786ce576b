"""What a chunk costs does not grow with the number of repositories: it is counted, not timed."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.runs.progress import Progress
from flows.sync.request import SyncRequest
from flows.sync_many.chunk import ChunkJob, SyncOne, sync_one, sync_repositories
from flows.sync_many.read_ahead import MAX_REPOSITORIES, MAX_TAGS, plan_groups
from flows.sync_many.report import RepositoryOutcome
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.homes import new_home
from tests.upstream import Upstream

COUNT = 48


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    stores: dict[str, MemoryStore] = {}
    for number in range(COUNT):
        store = stores[f"many/r-{number:03}"] = MemoryStore()
        store.put_tag("v1", pack_image(store, [{"file": f"content of {number}"}]).digest)
    with Upstream(stores) as served:
        yield served


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with open_catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as opened:
        yield opened


def move(upstream: Upstream, numbers: Iterable[int]) -> None:
    """Have the tag of some repositories point to other content."""
    for number in numbers:
        store = upstream.repositories[f"many/r-{number:03}"]
        store.put_tag("v1", pack_image(store, [{"file": f"other content of {number}"}]).digest)


def sync(
    catalog: Catalog, upstream: Upstream, first: int, last: int, operation: str, *, one: SyncOne = sync_one
) -> list[RepositoryOutcome]:
    """Sync some repositories as one chunk."""

    async def run() -> list[RepositoryOutcome]:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            job = ChunkJob(catalog, upstreams, operation, Progress())
            names = [f"{upstream.host}/many/r-{number:03}" for number in range(first, last)]
            return await sync_repositories(job, [SyncRequest(remote=name) for name in names], at_once=4, sync=one)

    return asyncio.run(run())


def counted(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count questions to the lake from now on; those for what others commit come as often as a commit is met under way."""
    asked: Counter[str] = Counter()
    lake = catalog.commits._lake
    read = lake.read

    def noted(text: str, *rest: Any) -> Any:
        if "ducklake_snapshot_changes" not in text:
            asked[" ".join(text.split())] += 1
        return read(text, *rest)

    monkeypatch.setattr(lake, "read", noted)
    return asked


def test_a_new_repository_costs_no_question_to_the_catalogue(
    catalog: Catalog, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = counted(catalog, monkeypatch)
    reload = Mock(wraps=catalog.distributions.reload)
    monkeypatch.setattr(catalog.distributions, "reload", reload)
    outcomes = sync(catalog, upstream, 0, COUNT, "run 1")
    assert Counter(one.outcome for one in outcomes) == {"synced": COUNT}
    assert asked.total() == 1, asked  # what an earlier try has made: one question for all
    reload.assert_not_called()
    assert len(catalog.distributions) == COUNT


def test_a_try_after_another_makes_no_version_twice(catalog: Catalog, upstream: Upstream) -> None:
    sync(catalog, upstream, 0, 4, "run 1")
    again = sync(catalog, upstream, 0, 8, "run 1")
    assert [(one.outcome, one.version) for one in again] == [("synced", 1)] * 8
    assert "an earlier try of this flow run has made the version" in again[0].notes
    later = sync(catalog, upstream, 0, 8, "run 2")
    assert [(one.outcome, one.version) for one in later] == [("unchanged", 1)] * 8


def test_a_changed_repository_costs_no_question_about_the_operation(
    catalog: Catalog, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(catalog, upstream, 10, 18, "run 1")
    move(upstream, range(10, 18))
    asked = counted(catalog, monkeypatch)
    later = sync(catalog, upstream, 10, 18, "run 2")
    assert [(one.outcome, one.version) for one in later] == [("synced", 2)] * 8
    assert sum(number for text, number in asked.items() if "operation_id" in text) == 1, asked


def test_unchanged_repositories_cost_three_questions_for_all(
    catalog: Catalog, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(catalog, upstream, 22, 38, "run 1")
    with open_catalog(catalog.settings) as other:  # whose memory has none of the versions
        asked = counted(other, monkeypatch)
        later = sync(other, upstream, 22, 40, "run 2")
    assert Counter(one.outcome for one in later) == {"unchanged": 16, "synced": 2}
    assert asked.total() == 3, asked  # what an earlier try has made, what all hold, and the parts of that


def test_groups_have_so_many_repositories_and_tags_at_most() -> None:
    tags = {"a": 1, "large": MAX_TAGS + 1, "b": 2, "c": MAX_TAGS - 2, "d": 1}
    assert plan_groups(tags, tags.__getitem__) == [("a",), ("large",), ("b", "c"), ("d",)]
    names = [f"r{number}" for number in range(MAX_REPOSITORIES + 1)]
    assert [len(group) for group in plan_groups(names, lambda _: 0)] == [MAX_REPOSITORIES, 1]
    assert plan_groups((), lambda _: 1) == []


def test_two_processes_of_one_chunk_make_one_version(catalog: Catalog, upstream: Upstream) -> None:
    async def second_of_two(job: ChunkJob, request: SyncRequest) -> RepositoryOutcome:
        """Sync a repository that another process, which has taken over the chunk, has synced since the chunk began."""
        with open_catalog(catalog.settings) as theirs:
            await sync_one(ChunkJob(theirs, job.upstreams, job.operation, Progress()), request)
        move(upstream, [20])
        return await sync_one(job, request)

    (outcome,) = sync(catalog, upstream, 20, 21, "run 1", one=second_of_two)
    assert (outcome.outcome, outcome.version) == ("unchanged", 1)
