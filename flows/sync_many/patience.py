"""The steps of a sync without Prefect, tried again as Prefect would: within one task, so that a repository is one line there."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from flows.sync.batches import Batch, BatchStep, Outcome
from flows.sync.context import SyncContext
from flows.sync.procedure import PLAIN, SyncSteps
from flows.sync.selection import ListTags
from flows.sync.sources import Upstream
from oci.errors import EntrepotError

RETRIES = 2
"""How often a step is tried again; each request to upstream has its own tries below that."""

Sleep = Callable[[float], Awaitable[None]]


def pause_before(retry: int) -> float:
    """Return the seconds before a retry, the first of which is 1; a part of them is random, so that steps do not meet again."""
    return float(2**retry) * (1 + random.random() / 2)  # noqa: S311  # no secret


def patient_batch(step: BatchStep, *, sleep: Sleep = asyncio.sleep) -> BatchStep:
    """Return a step that is tried again while that may mend a failure; the last try's failures are its outcome."""

    async def tried(context: SyncContext, batch: Batch) -> Outcome:
        done = context.progress.done
        for retry in range(1, RETRIES + 1):
            try:
                outcome = await step(context, batch)
            except EntrepotError as error:
                if not error.retryable:
                    raise
            else:
                if not outcome.retryable:
                    return outcome
                context.log.charge(outcome.moved)
            context.progress.done = done
            await sleep(pause_before(retry))
        return await step(context, batch)

    return tried


def patient_list(step: ListTags, *, sleep: Sleep = asyncio.sleep) -> ListTags:
    """Return a step that lists tags, tried again while that may help."""

    async def tried(context: SyncContext, source: Upstream) -> Sequence[str]:
        for retry in range(1, RETRIES + 1):
            try:
                return await step(context, source)
            except EntrepotError as error:
                if not error.retryable:
                    raise
            await sleep(pause_before(retry))
        return await step(context, source)

    return tried


PATIENT = SyncSteps(
    list_tags=patient_list(PLAIN.list_tags),
    resolve_batch=patient_batch(PLAIN.resolve_batch),
    read_facts=patient_batch(PLAIN.read_facts),
    measure_batch=patient_batch(PLAIN.measure_batch),
    copy_batch=patient_batch(PLAIN.copy_batch),
    commit_version=PLAIN.commit_version,
)
