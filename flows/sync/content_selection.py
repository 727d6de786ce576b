"""Selecting by content in a sync: what is held here is known, of the rest no more is asked than decides."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from catalog.filters.filter import Filter
from catalog.filters.tags import Selection
from flows.sync.job import SyncJob
from flows.sync.upstream_facts import needs_signature
from oci.reference import is_tag

MAX_AHEAD = 1000
"""How many older tags are looked at at once, at most, where the newest that fulfil conditions are wanted."""

Act = Callable[[Sequence[str]], Awaitable[None]]


async def select_by_content(job: SyncJob, resolve: Act, inspect: Act) -> None:
    """Drop what does not fulfil the conditions from the job's selection, and from what it has found.

    `resolve` finds out where tags point, `inspect` what is to be known of that. What failed stays selected, for it is told.
    """
    named = [key for key in job.selection.kept if job.request.pinned or not is_tag(key)]
    apart = set(named)
    others = [key for key in job.selection.kept if key not in apart]
    for keys, wanted in ((named, job.wanted.of_named), (others, job.wanted)):
        if wanted.asks_content:
            await _judge(job, wanted, keys, resolve, inspect)
            _settle(job, wanted, frozenset(keys))
        else:
            await resolve(keys)


async def _judge(job: SyncJob, wanted: Filter, keys: Sequence[str], resolve: Act, inspect: Act) -> None:
    """Look at what decides; where older tags have to make up for newer ones, at twice as many each time."""
    verdicts: dict[str, bool] = {}
    ahead = 0
    while some := wanted.to_judge(keys, verdicts, ahead=ahead):
        await resolve(some)
        await _know(job, some)
        await inspect([key for key in some if key in job.found and job.found[key].digest not in job.facts])
        for key in some:
            facts = job.facts.get(job.found[key].digest) if key in job.found and key not in job.failed else None
            verdicts[key] = facts is not None and wanted.conditions.judge(facts, job.now)[0]
        ahead = min(MAX_AHEAD, max(1, ahead * 2))


async def _know(job: SyncJob, keys: Sequence[str]) -> None:
    """Take from the catalogue, by one query, what it knows of that to which tags point."""
    base = await asyncio.to_thread(job.catalog.snapshots.find, job.target)
    digests = {job.found[key].digest for key in keys if key in job.found} - job.facts.keys()
    if base is None or digests.isdisjoint(base.manifests):
        return
    for digest, facts in (await asyncio.to_thread(job.catalog.history.facts, base, digests)).items():
        (job.held_facts if needs_signature(job, facts) else job.facts)[digest] = facts


def _settle(job: SyncJob, wanted: Filter, keys: frozenset[str]) -> None:
    judged = {key: rule for key, rule in job.selection.rules.items() if key in keys and key not in job.failed}
    facts = {key: job.facts[job.found[key].digest] for key in judged if key in job.found}
    settled = wanted.settle(Selection(judged), facts, job.now)
    rules = {
        key: settled.rules.get(key, rule) for key, rule in job.selection.rules.items() if key not in settled.dropped
    }
    job.selection = Selection(rules, {**job.selection.dropped, **settled.dropped})
    for key in settled.dropped:
        job.found.pop(key, None)
