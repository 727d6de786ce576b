"""One budget for each upstream, shared by syncs, caches and all processes of a home."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.distributions.records import Distribution
from catalog.remotes.budgets import BudgetFile, SharedBudget
from catalog.remotes.records import RemoteRecord
from oci.descriptor import Descriptor
from oci.errors import RemoteRateLimited
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.limits.budget import Budget
from oci.remote.limits.traffic import Traffic
from oci.remote.repository import RemoteRepository
from oci.remote.transport import RemoteTransport
from tests.api.conftest import Api, codes, serve
from tests.mirror import mirror
from tests.servers import ROOT
from tests.upstream import Reply, Seen, Upstream

NAME = "team/app"
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TAGS = [f"v{number}" for number in range(10)]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    store = MemoryStore()
    image = pack_image(store, [{"file": "one"}])
    for tag in TAGS:
        store.put_tag(tag, image.digest)
    with Upstream({NAME: store}) as running:
        yield running


@pytest.fixture
def api(tmp_path: Path, upstream: Upstream) -> Iterator[Api]:
    with serve(tmp_path / "entrepot") as running:
        made = Distribution("cache", "", NOW, NOW, remote=upstream.host, fresh_seconds=3600)
        running.catalog.distributions.put(made, actor="admin")
        yield running


def tell(upstream: Upstream, limit: int, remaining: int, reset: int) -> None:
    """Let answers tell how many requests remain, all of them again after `reset` seconds."""
    left = [remaining]

    def fault(seen: Seen, good: Reply) -> Reply:
        if seen.route != "base":
            left[0] = left[0] - 1 if left[0] > 0 else limit
            good.headers |= {
                "ratelimit-limit": f"{limit};w=60",
                "ratelimit-remaining": f"{left[0]};w=60",
                "ratelimit-reset": str(reset),
            }
        return good

    upstream.faults.append(fault)


def test_a_sync_waits_and_a_client_does_not(tmp_path: Path, api: Api, upstream: Upstream) -> None:
    tell(upstream, 100, 13, reset=2)
    file = BudgetFile(tmp_path / "entrepot", upstream.host)
    asked = api.anybody.get(f"/v2/cache/{NAME}/manifests/v0")
    assert asked.status_code == 200
    known = file.read()
    assert (known.limit, known.remaining) == (100, 13 - len([seen for seen in upstream.seen if seen.route != "base"]))
    assert api.anybody.get(f"/v2/cache/{NAME}/manifests/v1").status_code == 200
    before = file.read().told_at
    mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}:v2")
    assert file.read().told_at - before > 1.0


def test_what_a_sync_was_refused_a_client_does_not_ask_for(tmp_path: Path, api: Api, upstream: Upstream) -> None:
    upstream.fail(429, route="manifest", times=1, retry_after="60")
    first = api.anybody.get(f"/v2/cache/{NAME}/manifests/v1")
    assert (first.status_code, first.headers["retry-after"], codes(first)) == (429, "60", ["TOOMANYREQUESTS"])
    upstream.forget()
    again = api.anybody.get(f"/v2/cache/{NAME}/manifests/v2")
    assert (again.status_code, codes(again)) == (429, ["TOOMANYREQUESTS"])
    assert 50 <= int(again.headers["retry-after"]) <= 60
    assert upstream.seen == []
    file = BudgetFile(tmp_path / "entrepot", upstream.host)
    file.change(lambda budget: replace(budget, closed_until=0.0))
    assert api.anybody.get(f"/v2/cache/{NAME}/manifests/v2").status_code == 200


def test_a_rate_that_was_set_is_held(api: Api, upstream: Upstream) -> None:
    api.catalog.remotes.put(RemoteRecord(upstream.host, NOW, NOW, rate="5/1h"), actor="test")
    answers = [api.anybody.get(f"/v2/cache/{NAME}/manifests/{tag}").status_code for tag in TAGS]
    assert set(answers) == {200, 429}
    assert len([seen for seen in upstream.seen if seen.route != "base"]) == 5


_SENDER = """
import asyncio, sys
from pathlib import Path
from catalog.remotes.budgets import BudgetFile, SharedBudget
from oci.errors import RemoteRateLimited
from oci.remote.limits.rate import parse_rate
async def main():
    budget = SharedBudget(BudgetFile(Path(sys.argv[1]), "registry.example"), "registry.example", interactive=True,
                          rate=parse_rate("50/1h"))
    sent = 0
    for _ in range(40):
        try:
            await budget.admit("GET", "/v2/x/manifests/v1", 0.0)
            sent += 1
        except RemoteRateLimited:
            pass
    print(sent)
asyncio.run(main())
"""


def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    senders = [
        subprocess.Popen([sys.executable, "-c", _SENDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert sum(int(sender.communicate(timeout=60)[0]) for sender in senders) == 50


def test_a_file_that_cannot_be_read_is_as_if_nothing_were_known(tmp_path: Path) -> None:
    file = BudgetFile(tmp_path, "registry.example:5000/team")
    file.change(lambda budget: replace(budget, limit=100, remaining=5))
    assert file.read().remaining == 5
    file.path.write_bytes(b'{"limit": 1')
    assert file.read() == Budget()
    file.change(lambda budget: replace(budget, limit=7))
    assert BudgetFile(tmp_path, "registry.example:5000/team").read().limit == 7


def test_how_long_a_sync_was_held_is_told(tmp_path: Path, upstream: Upstream) -> None:
    now, file = [1000.0], BudgetFile(tmp_path, upstream.host)
    file.change(lambda budget: replace(budget, closed_until=1030.0, closed_all=True))

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    sync, client = (
        SharedBudget(file, upstream.host, interactive=waits, clock=lambda: now[0], sleep=sleep)
        for waits in (False, True)
    )
    with pytest.raises(RemoteRateLimited) as refused:
        asyncio.run(client.admit("GET", "/v2/", 3600.0))
    assert (refused.value.retry_after, client.waited) == (30.0, 0.0)
    with pytest.raises(RemoteRateLimited):
        asyncio.run(sync.admit("GET", "/v2/", 29.0))
    asyncio.run(sync.admit("GET", "/v2/", 3600.0))
    assert sync.waited == 30.0
    result = mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}:v1")
    assert result.with_wait(0.5).notes == ()
    assert result.with_wait(sync.waited).notes == ("waited 30 s, for upstream allows no more requests",)


def test_bandwidth_is_of_all_streams_together(upstream: Upstream) -> None:
    blobs = [upstream.repositories[NAME].put_blob(bytes([number]) * 500_000, "application/x") for number in range(2)]
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    async def read() -> int:
        traffic = Traffic(bandwidth=100_000, clock=lambda: now[0], sleep=sleep)
        async with RemoteTransport(upstream.host, traffic=traffic) as transport:

            async def size(blob: Descriptor) -> int:
                return sum([len(chunk) async for chunk in RemoteRepository(transport, NAME).read_blob(blob)])

            return sum(await asyncio.gather(*map(size, blobs)))

    assert asyncio.run(read()) == 1_000_000
    assert now[0] >= 9.9
