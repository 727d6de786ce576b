"""One scrape: the counts of all processes, and what catalogue, disk and Prefect say, asked every fifteen seconds at most."""

import asyncio
import shutil
from collections.abc import Awaitable
from contextlib import suppress

from catalog.remotes.clients import Upstreams
from oci.errors import EntrepotError
from registry_api.context import Registry
from registry_api.freshness import Confirmation
from registry_api.metrics import siblings
from registry_api.metrics.flow_runs import flow_figures
from registry_api.metrics.requests import RequestCounts
from registry_api.metrics.siblings import Counts, Numbers

_ASKED_EVERY = 15.0
"""Seconds for which what catalogue and disk say is told again."""
_PATIENCE = 5.0
"""Seconds that they have to answer; else a scrape goes without."""


class Scrape:
    """Gives the page that Prometheus reads; used on the event loop of its process."""

    def __init__(self, registry: Registry, requests: RequestCounts, upstreams: Upstreams) -> None:
        self._registry, self._requests, self._upstreams = registry, requests, upstreams
        self._settings = registry.catalog.settings
        self._asked: Numbers = {}
        self._asked_at = float("-inf")

    async def page(self) -> tuple[bytes, str]:
        """Return all metrics in Prometheus's text format, and its media type."""
        await self._ask()
        counts, threads = self.counts(), self._registry.threads
        if self._settings.server_processes > 1:
            counts = await threads.run(siblings.with_siblings, self._settings.root, counts)
        return await threads.run(self._write, counts, {**self._asked, **self._known()})

    def _write(self, counts: Counts, gauges: Numbers) -> tuple[bytes, str]:
        from registry_api.metrics.exposition import CONTENT_TYPE, expose

        alone = self._settings.server_processes == 1  # of several processes each scrape would tell of another one
        return expose(counts, gauges, of_process=alone), CONTENT_TYPE

    def counts(self) -> Counts:
        """Return what this process has counted; no I/O."""
        commits = self._registry.catalog.commits
        stats = commits.stats
        numbers: dict[tuple[str, ...], float] = {
            ("commit_versions",): stats.versions,
            ("commit_seconds",): stats.seconds,
            ("commit_wait_seconds",): stats.waited,
        }
        numbers |= {("commits", way): float(count) for way, count in dict(commits.ways).items()}  # threads add to it
        for host, budget in self._upstreams.budgets.items():
            numbers |= {
                ("upstream_responses", host, str(status)): float(count) for status, count in budget.responses.items()
            }
        return Counts(self._requests.series, numbers)

    def _known(self) -> Numbers:
        """Return what memory knows; no I/O."""
        catalog = self._registry.catalog
        caches = len(catalog.distributions.caches())
        return {
            ("snapshot_entries",): catalog.snapshots.entries,
            ("snapshot_entries_limit",): self._settings.snapshot_entries,
            ("distributions",): len(catalog.distributions) - caches,
            ("caches",): caches,
            ("repositories",): catalog.snapshots.count,
        }

    async def _ask(self) -> None:
        """Ask catalogue, disk and budgets anew, where that is due; what does not answer in time is left out."""
        now = asyncio.get_running_loop().time()
        if now - self._asked_at < _ASKED_EVERY:
            return
        self._asked_at = now
        run = self._registry.threads.run
        questions = [run(one) for one in (self._ready, self._disk, self._blobs, self._budgets)]
        answers = await asyncio.gather(
            *map(_in_time, questions), _in_time(self._database()), _in_time(flow_figures(self._settings))
        )
        self._asked = {
            ("ready",): 0,
            ("database_answers",): 0,
            **{key: value for answer in answers for key, value in answer.items()},
        }

    async def _database(self) -> Numbers:
        return {("database_answers",): await self._registry.freshness.confirm(own=True) is Confirmation.OWN}

    def _ready(self) -> Numbers:
        self._registry.catalog.check()
        return {("ready",): 1}

    def _disk(self) -> Numbers:
        return {("disk_free_bytes",): shutil.disk_usage(self._settings.root).free}

    def _blobs(self) -> Numbers:
        blobs, size = self._registry.catalog.content.totals()
        return {("blobs",): blobs, ("blob_bytes",): size}

    def _budgets(self) -> Numbers:
        left = {host: budget.remaining() for host, budget in self._upstreams.budgets.items()}
        return {("upstream_budget_remaining", host): known for host, known in left.items() if known is not None}


async def _in_time(question: Awaitable[Numbers]) -> Numbers:
    """Return what is answered in time, else nothing."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await question
    except (TimeoutError, EntrepotError, OSError):
        return {}


async def leave_counts(scrape: Scrape, registry: Registry) -> None:
    """Leave this process's counts for its siblings every two seconds, until cancelled; alone, do nothing."""
    settings = registry.catalog.settings
    while settings.server_processes > 1:
        await asyncio.sleep(siblings.EVERY)
        with suppress(OSError):  # a full disk: the next time
            await registry.threads.run(siblings.leave_file, settings.root, scrape.counts())
