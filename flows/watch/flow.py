"""The flow `watch-upstream`: look at tags of upstreams, and tell what has changed since the last watch."""

import asyncio
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.filters.tags import TagFilter
from catalog.holds.rules import HoldDecision
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from catalog.watch.judgement import must_not_move
from catalog.watch.records import WatchTerms
from catalog.watch.sightings import SeenTag
from catalog.work_roots import with_logins
from flows.engine.current import recorded_run_id, run_logger
from flows.engine.endings import FlowEnd, completed
from flows.engine.flows import flow
from flows.engine.tasks import task
from flows.runs.artifacts import table_artifact
from flows.runs.catalog import opened_catalog
from flows.runs.upstream_slots import upstream_slots
from flows.watch.blocking import block_moved
from flows.watch.observing import Observation, observe
from flows.watch.request import WatchedUpstream, WatchRequest, WatchResult
from flows.watch.sources import find_upstreams, watched_name
from oci.errors import EntrepotError, LocalError
from oci.remote.address import Remote
from oci.remote.repository import RemoteRepository


class WatchFailed(LocalError):
    """A watch went through all upstreams, and could see nothing of some."""


class Watch:
    """A watch under way. No dataclass, so that Prefect does not walk through it looking for other tasks' results."""

    __slots__ = ("catalog", "flow_run_id", "request", "upstreams")

    def __init__(self, catalog: Catalog, upstreams: Upstreams, request: WatchRequest, *, flow_run_id: str = "") -> None:
        self.catalog, self.upstreams, self.request, self.flow_run_id = catalog, upstreams, request, flow_run_id


@task(name="watch-upstreams")
async def watch_upstreams(watch: Watch) -> WatchResult:
    """Watch one upstream after the other; a failure of one does not stop the rest."""
    found: list[WatchedUpstream] = []
    for remote in await asyncio.to_thread(find_upstreams, watch.catalog, watch.request.source):
        try:
            async with upstream_slots([remote.host]):
                found.append(await watch_one(watch, remote, datetime.now(UTC)))
        except EntrepotError as error:
            found.append(WatchedUpstream(watched_name(remote), error=error.message))
    return WatchResult(tuple(found), watch.flow_run_id)


async def watch_one(watch: Watch, remote: Remote, now: datetime) -> WatchedUpstream:
    """Watch one upstream repository itself, whatever mirrors it has; what has changed is recorded and told once."""
    request, name = watch.request, watched_name(remote)
    terms = WatchTerms(
        TagFilter(request.include, request.exclude),
        must_not_move(request.expect_immutable),
        request.most_tags,
        watch.flow_run_id,
    )
    base = await asyncio.to_thread(watch.catalog.watches.read, name)
    async with await watch.upstreams.new_transport(remote) as transport:
        one = Observation(RemoteRepository(transport, remote.reference.repository), base, terms, request.signatures)
        seen = await observe(one)
        requests = transport.requests
    blocked: list[HoldDecision] = []
    if request.on_move == "hold":
        blocked = await asyncio.to_thread(block_moved, watch.catalog, request.source, base, seen, terms, now)
    changes = await asyncio.to_thread(watch.catalog.watches.record, base, seen, terms, now=now)
    return WatchedUpstream(
        name,
        sum(isinstance(sighting, SeenTag) for sighting in seen.tags.values()),
        requests,
        tuple(changes),
        seen.unknown,
        tuple(one.remarks),
        base.watched_at is None,
        tuple(blocked),
    )


@flow(name="watch-upstream", flow_run_name="watch {request.source}")
async def watch_upstream(request: WatchRequest) -> FlowEnd[WatchResult]:
    """Tell what has changed upstream. Killed at any point, the next run tells what was not told."""
    settings = with_logins(read_settings(), request.logins)
    async with opened_catalog(settings) as catalog, Upstreams(settings, catalog.remotes) as upstreams:
        result = await watch_upstreams(Watch(catalog, upstreams, request, flow_run_id=recorded_run_id()))
    await table_artifact("watch", request.source, result.summary(), result.rows()[:1000])
    for upstream in result.upstreams:
        for remark in upstream.remarks:
            run_logger().warning("%s: %s", upstream.remote, remark)
    run_logger().info(result.summary())
    if any(one.error for one in result.upstreams):
        raise WatchFailed(result.summary()[:4000], detail=result.to_json())
    return completed(result.summary(), result)
