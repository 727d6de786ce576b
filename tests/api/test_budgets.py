"""One budget for each upstream, shared by syncs, caches and all processes of a home."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.distributions.records import Distribution
from catalog.remotes.budget_stores import BudgetFile, BudgetStore, open_budget
from catalog.remotes.budgets import SharedBudget
from catalog.remotes.records import RemoteRecord
from catalog.settings import read_settings
from catalog.state.shared_state import open_state
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
from tests.postgresql import use
from tests.servers import ROOT, wait_until
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


def budget_of(api: Api, upstream: Upstream) -> BudgetStore:
    """Open the budget of an upstream where the registry keeps it."""
    return open_budget(api.catalog.settings.root, upstream.host, api.catalog.state)


def test_a_sync_waits_and_a_client_does_not(tmp_path: Path, api: Api, upstream: Upstream) -> None:
    tell(upstream, 100, 13, reset=2)
    kept = budget_of(api, upstream)
    asked = api.anybody.get(f"/v2/cache/{NAME}/manifests/v0")
    assert asked.status_code == 200
    known = kept.read()
    assert (known.limit, known.remaining) == (100, 13 - len([seen for seen in upstream.seen if seen.route != "base"]))
    assert api.anybody.get(f"/v2/cache/{NAME}/manifests/v1").status_code == 200
    before = kept.read().told_at
    mirror(tmp_path / "entrepot", f"{upstream.host}/{NAME}:v2")
    assert kept.read().told_at - before > 1.0


def test_what_a_sync_was_refused_a_client_does_not_ask_for(api: Api, upstream: Upstream) -> None:
    upstream.fail(429, route="manifest", times=1, retry_after="60")
    first = api.anybody.get(f"/v2/cache/{NAME}/manifests/v1")
    assert (first.status_code, first.headers["retry-after"], codes(first)) == (429, "60", ["TOOMANYREQUESTS"])
    upstream.forget()
    again = api.anybody.get(f"/v2/cache/{NAME}/manifests/v2")
    assert (again.status_code, codes(again)) == (429, ["TOOMANYREQUESTS"])
    assert 50 <= int(again.headers["retry-after"]) <= 60
    assert upstream.seen == []
    budget_of(api, upstream).change(lambda budget: replace(budget, closed_until=0.0))
    assert api.anybody.get(f"/v2/cache/{NAME}/manifests/v2").status_code == 200


def test_a_rate_that_was_set_is_held(api: Api, upstream: Upstream) -> None:
    api.catalog.remotes.put(RemoteRecord(upstream.host, NOW, NOW, rate="5/1h"), actor="test")
    answers = [api.anybody.get(f"/v2/cache/{NAME}/manifests/{tag}").status_code for tag in TAGS]
    assert set(answers) == {200, 429}
    assert len([seen for seen in upstream.seen if seen.route != "base"]) == 5


@pytest.fixture(params=["files", "postgresql"])
def open_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], BudgetStore]]:
    """Opens a budget of the home `tmp_path` as a further process does."""
    if request.param == "postgresql":
        use(request.getfixturevalue("postgres_server").new_database(), monkeypatch)
    settings = read_settings(home=tmp_path)
    with ExitStack() as stack:

        def open_one(key: str) -> BudgetStore:
            state = open_state(settings)
            if state is not None:
                stack.callback(state.close)
            return open_budget(settings.root, key, state)

        yield open_one


_SENDER = """
import asyncio, sys, time
from pathlib import Path
from catalog.remotes.budget_stores import open_budget
from catalog.remotes.budgets import SharedBudget
from catalog.settings import read_settings
from catalog.state.shared_state import open_state
from oci.errors import RemoteRateLimited
from oci.remote.limits.rate import parse_rate
home, rate, tries, patience = Path(sys.argv[1]), parse_rate(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
state = open_state(read_settings(home=home))
async def main():
    store = open_budget(home, "registry.example", state)
    budget = SharedBudget(store, "registry.example", interactive=True, rate=rate)
    for _ in range(tries):
        try:
            await budget.admit("GET", "/v2/x/manifests/v1", patience)
            print(time.time())
        except RemoteRateLimited:
            pass
asyncio.run(main())
if state is not None:
    state.close()
"""


def send(home: Path, rate: str, *, tries: int, patience: float) -> list[float]:
    """Return when two processes that share a budget have sent, in order."""
    arguments = [str(home), rate, str(tries), str(patience)]
    senders = [
        subprocess.Popen([sys.executable, "-c", _SENDER, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    return sorted(float(line) for sender in senders for line in sender.communicate(timeout=90)[0].splitlines())


@pytest.mark.usefixtures("open_store")
def test_two_processes_share_one_budget(tmp_path: Path) -> None:
    assert len(send(tmp_path, "50/1h", tries=40, patience=0.0)) == 50


@pytest.mark.usefixtures("open_store")
def test_two_processes_that_wait_hold_a_rate_together(tmp_path: Path) -> None:
    sent = send(tmp_path, "10/1s", tries=20, patience=60.0)
    assert len(sent) == 40
    assert sent[-1] - sent[0] > 2.7, "the first ten at once, the others in three seconds"
    most = max(sum(1 for other in sent if begin <= other < begin + 0.9) for begin in sent)
    assert most <= 11  # of a second, less the moments between counting and sending


def test_what_one_process_learns_another_knows_within_a_second(open_store: Callable[[str], BudgetStore]) -> None:
    one, other, third = open_store("registry.example"), open_store("registry.example"), open_store("else.example")
    waiting = SharedBudget(other, "registry.example", interactive=True)
    asyncio.run(waiting.admit("GET", "/v2/x/manifests/v1", 0.0))
    asyncio.run(SharedBudget(one, "registry.example", interactive=True).learn("GET", "/v2/x", 429, {}, 60.0))

    def refused() -> bool:
        try:
            asyncio.run(waiting.admit("GET", "/v2/x/manifests/v1", 0.0))
        except RemoteRateLimited:
            return True
        return False

    wait_until(refused, 2, "known there")
    assert other.read().closed_until > 0
    assert third.read() == Budget()


def test_a_budget_is_changed_by_one_at_a_time(open_store: Callable[[str], BudgetStore]) -> None:
    stores = [open_store("registry.example") for _ in range(3)]

    def count(store: BudgetStore) -> None:
        for _ in range(20):
            store.change(lambda budget: replace(budget, limit=budget.limit + 1))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count, stores * 2))
    assert stores[0].read().limit == 120


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
