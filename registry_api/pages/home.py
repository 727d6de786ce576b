"""The home page: what came in lately, how fresh mirrors are, what is held."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from heapq import nsmallest
from operator import itemgetter

from fastapi import APIRouter, Response
from pydantic import BaseModel

from catalog.browse.recent_versions import RepositoryHead
from catalog.versions.rows import VersionRow
from registry_api.pages.framework.flow_watch import FlowStates, RunInProgress
from registry_api.pages.framework.formats import FLOW_RUN, prefect_ui_url
from registry_api.pages.framework.visible_paths import VisiblePaths
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit

_SHOWN = 20
_DAYS = 30


class RecentVersionOut(BaseModel):
    """A version made lately, at the place where the caller sees it. Who may not know its history sees the time alone."""

    name: str
    version: int | None = None
    operation: str = ""
    actor: str = ""
    flow_run_id: str = ""
    origins: list[str] = []
    created_at: datetime
    added: int | None = None
    removed: int | None = None


class MirrorOut(BaseModel):
    """A repository that is synced from upstream: when something new came last, and when a sync last completed, if known."""

    name: str
    upstreams: list[str]
    changed_at: datetime
    synced_at: datetime | None = None


class DayOut(BaseModel):
    """How many of the last versions were made on a day (UTC)."""

    day: date
    versions: int


class FailedFlowOut(BaseModel):
    """A deployment whose last run failed, and when."""

    deployment: str
    failed_at: datetime


class RunInProgressOut(BaseModel):
    """A flow run under way, and since when, if it has begun; `url` is its page in Prefect."""

    name: str
    state: str
    began_at: datetime | None
    url: str


class FlowsOut(BaseModel):
    """What Prefect says of flows: runs by state, those under way, and what failed since it last succeeded."""

    url: str
    runs: dict[str, int]
    failed: list[FailedFlowOut]
    in_progress: list[RunInProgressOut]


class HomePage(BaseModel):
    """What is held and what came in lately, as far as the caller may see it. Sizes in bytes.

    `stored_bytes`, `stored_blobs` and `flows` are for administrators. `flows` is None, too, if Prefect does not answer.
    """

    repositories: int
    tags: int
    content_bytes: int
    stored_bytes: int | None = None
    stored_blobs: int | None = None
    recent_versions: list[RecentVersionOut]
    mirrors: list[MirrorOut]
    days: list[DayOut]
    flows: FlowsOut | None = None


router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
@router.get("/home.json")
async def show_home(visit: CurrentVisit) -> Response:
    """Show the home page."""
    held = await visit.site.held(visit) if visit.is_administrator else (None, None)
    states = await visit.site.flows.look() if visit.account else None
    runs = await visit.site.runs.look() if visit.is_administrator else None
    return await visit.respond("home.html", lambda visit: read_home(visit, held, states, runs), block="results")


def read_home(
    visit: Visit,
    held: tuple[int | None, int | None],
    states: FlowStates | None,
    runs: Sequence[RunInProgress] | None,
) -> HomePage:
    """Return the view model; one query where something was committed since the last page."""
    recent, paths = visit.recent(), visit.paths
    # Who sees nothing but earlier versions of a repository may not know what the latest one holds.
    latest = [name for name, shown in paths.by_repository.items() if any(path.version is None for path in shown)]
    totals = [visit.catalog.quotas.totals.of(name) for name in latest]
    return HomePage(
        repositories=len(paths.by_repository),
        tags=sum(total.tags for total in totals),
        content_bytes=sum(total.bytes for total in totals),
        stored_blobs=held[0],
        stored_bytes=held[1],
        recent_versions=list(list_recent_versions(recent.latest, recent.heads, paths))[:_SHOWN],
        mirrors=list_mirrors(recent.heads, paths, states.synced if states else {}),
        days=count_days(recent.latest, paths, visit.registry.now().date()),
        flows=_flows_out(states, runs or (), prefect_ui_url(visit.catalog.settings))
        if states and visit.is_administrator
        else None,
    )


def list_recent_versions(
    latest: Iterable[VersionRow], heads: Mapping[str, RepositoryHead], paths: VisiblePaths
) -> Iterator[RecentVersionOut]:
    """Give the versions made last that the caller may see, the newest first. Pure.

    Of a repository whose history is not the caller's to know, only the latest version counts, where a path serves it.
    """
    for version in latest:
        for place in paths.by_repository.get(version.repository, ())[:1]:
            if place.has_history:
                yield RecentVersionOut(
                    name=place.name,
                    version=version.number,
                    operation=version.operation,
                    actor=version.actor,
                    flow_run_id=version.flow_run_id,
                    origins=[str(origin) for origin in version.origins],
                    created_at=version.created_at,
                    added=version.added,
                    removed=version.removed,
                )
            elif place.version is None and version.number == heads[version.repository].number:
                yield RecentVersionOut(name=place.name, created_at=version.created_at)


def _flows_out(states: FlowStates, runs: Sequence[RunInProgress], url: str) -> FlowsOut:
    failed = sorted(states.failed.items(), key=itemgetter(1), reverse=True)
    return FlowsOut(
        url=url,
        runs=states.runs,
        failed=[FailedFlowOut(deployment=name, failed_at=at) for name, at in failed],
        in_progress=list_runs_in_progress(runs, url),
    )


def list_runs_in_progress(runs: Iterable[RunInProgress], url: str) -> list[RunInProgressOut]:
    """Return flow runs as a page shows them; `url` is that of Prefect's pages, empty for none. Pure."""
    return [
        RunInProgressOut(
            name=run.name,
            state=run.state.lower(),
            began_at=run.began_at,
            url=f"{url}/runs/flow-run/{run.id}" if url and FLOW_RUN.fullmatch(run.id) else "",
        )
        for run in runs
    ]


def list_mirrors(
    heads: Mapping[str, RepositoryHead], paths: VisiblePaths, synced: Mapping[str, datetime]
) -> list[MirrorOut]:
    """Return what is synced from upstream, what has not changed for longest first; for who may know its history. Pure."""
    found = (
        (head.synced_at, shown[0].name, repository, head)
        for repository, shown in paths.by_repository.items()
        if shown[0].has_history and (head := heads.get(repository)) is not None and head.synced_at is not None
    )
    longest = nsmallest(_SHOWN, found, key=itemgetter(0, 1))
    return [
        MirrorOut(
            name=name,
            upstreams=[origin.name for origin in head.origins],
            changed_at=changed_at,
            synced_at=synced.get(repository),
        )
        for changed_at, name, repository, head in longest
    ]


def count_days(latest: Iterable[VersionRow], paths: VisiblePaths, today: date) -> list[DayOut]:
    """Return how many versions whose history the caller may know were made on each of the last days. Pure."""
    counts = Counter(
        version.created_at.date()
        for version in latest
        if (shown := paths.by_repository.get(version.repository)) and shown[0].has_history
    )
    days = [today - timedelta(days=ago) for ago in reversed(range(_DAYS))]
    return [DayOut(day=day, versions=counts[day]) for day in days]
