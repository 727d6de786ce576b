"""Repositories, versions, tags and distributions under /api/v1, for programs; the rights are those of `/v2`."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from catalog.distributions.records import Distribution
from catalog.pull_counts import PullSums, sum_pulls
from catalog.versions.rows import RepositoryRow, VersionRow
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import OriginKind
from oci.errors import Conflict
from oci.reference import MAX_NAME, NAME_PATTERN, parse_name
from registry_api.http.response_cache import body_size
from registry_api.management.dependencies import FAILURES, Context, Count, Last, ManagementRoute, RequestContext

NUMBER = 2**53
NamePath = Annotated[
    str,
    Path(description="A name, slashes included.", json_schema_extra={"pattern": NAME_PATTERN, "maxLength": MAX_NAME}),
]


class CacheOut(BaseModel):
    """A cache's rules: names and sizes it admits, who may fetch new content, when it evicts. Sizes in bytes, 0 for no limit."""

    include: list[str] = []
    exclude: list[str] = []
    bring: str = "anyone"
    max_size: int = 0
    keep_unused_days: float = 0.0


class DistributionOut(BaseModel):
    """A path that serves content: `version` null is the repository's latest; `remote` is the upstream of a cache.

    `repository` is empty for callers who may not pull by its own name. `history_from` is the first version that a public
    path shows to everybody by time travel.
    """

    path: str
    repository: str
    version: int | None
    private: bool
    description: str
    labels: dict[str, str] = {}
    immutable_tags: list[str] = []
    remote: str = ""
    fresh_seconds: int = 0
    cache: CacheOut | None = None
    history_from: int = 1


class ListedDistribution(DistributionOut):
    """A distribution in a list; `content` changes whenever the path serves another version. It is empty where a hold, a gate or
    a rule of the life of content is about the path: what it serves may change by itself."""

    content: str


class DistributionsOut(BaseModel):
    """The distributions that the caller may pull from, by path."""

    distributions: list[ListedDistribution]


class DistributionIn(BaseModel):
    """The content that a path shall serve."""

    model_config = ConfigDict(extra="forbid")

    repository: str = Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": MAX_NAME})
    version: int | None = Field(None, ge=0, le=NUMBER)
    private: bool = False
    description: str = Field("", max_length=1000)
    labels: dict[str, str] = Field(default_factory=dict, max_length=100)
    immutable_tags: tuple[str, ...] = Field((), max_length=100)
    history_from: int | None = Field(
        None, ge=1, le=NUMBER, description="First earlier version that everybody may pull once the path is public."
    )


class RepositoryOut(BaseModel):
    """A repository as of its latest version; sizes in bytes."""

    name: str
    version: int
    tags: int
    manifests: int
    blobs: int
    size_bytes: int
    created_at: datetime
    updated_at: datetime


class OriginOut(BaseModel):
    """A place that content of a version came from: a remote, a repository here, a bundle or a folder.

    `version` is the number there.
    """

    kind: OriginKind
    name: str
    version: int | None


class VersionOut(BaseModel):
    """One version, the operation that made it, and where its content came from."""

    number: int
    operation: str
    actor: str
    flow_run_id: str
    message: str
    created_at: datetime
    tags: int
    manifests: int
    blobs: int
    size_bytes: int
    added: int
    removed: int
    origins: list[OriginOut]


class TagOut(BaseModel):
    """A tag and what it points to; `pulls` are those of the tag, and by digest of what it points to."""

    tag: str
    digest: str
    media_type: str
    size: int
    pulls: int = 0
    last_pulled_at: datetime | None = None


router = APIRouter(prefix="/api/v1", tags=["content"], route_class=ManagementRoute, responses=FAILURES)


def _may_know_repository(context: RequestContext, distribution: Distribution) -> bool:
    """Return whether the caller may know which repository a path serves."""
    own = context.catalog.distributions.find(distribution.repository)
    return (
        distribution.path == distribution.repository
        or context.may("pull", distribution.repository)
        or (own is not None and context.registry.access.may_pull(context.caller, own))
    )


@router.get("/repositories", response_model=list[RepositoryOut])
async def list_repositories(context: Context, n: Count = 100, last: Last = "") -> list[RepositoryOut]:
    """List the repositories that rules let the caller pull from, by name."""
    await context.registry.find_distribution("")

    async def make() -> list[RepositoryRow]:
        return await context.threads.make(context.catalog.history.repositories)

    rows = await context.registry.responses.get(
        "repositories", context.catalog.serving.state, context.cost_key, make, lambda rows: 500 * len(rows)
    )
    visible = [row for row in rows if row.name > last and context.may("pull", row.name)]
    return [_repository_out(row) for row in visible[:n]]


@router.get("/repositories/{name:path}", response_model=RepositoryOut)
async def show_repository(context: Context, name: NamePath) -> RepositoryOut:
    """Show one repository."""
    context.check("pull", parse_name(name))
    return _repository_out(await context.threads.run(context.catalog.history.repository, name))


@router.get("/versions/{name:path}", response_model=list[VersionOut])
async def list_versions(
    context: Context,
    name: NamePath,
    n: Count = 100,
    before: Annotated[int, Query(ge=0, le=NUMBER, description="Only versions below this.")] = NUMBER,
) -> list[VersionOut]:
    """List a repository's versions, newest first."""
    context.check("pull", parse_name(name))
    rows = await context.threads.run(context.catalog.history.versions, name)
    return [_version_out(row) for row in rows if row.number < before][:n]


@router.get("/tags/{name:path}", response_model=list[TagOut])
async def list_tags(
    context: Context,
    name: NamePath,
    version: Annotated[int | None, Query(ge=0, le=NUMBER, description="Default: the latest.")] = None,
    n: Count = 100,
    last: Last = "",
) -> list[TagOut]:
    """List a version's tags in ASCII order."""
    context.check("pull", parse_name(name))
    snapshot = await context.threads.run(context.catalog.snapshots.get, name, version)
    pulls = sum_pulls(await context.threads.run(context.catalog.pulls.read_one, name))
    return [_tag_out(snapshot, tag, pulls) for tag in snapshot.tags_after(last, n)]


@router.get("/distributions", response_model=DistributionsOut)
async def list_distributions(context: Context, *, caches: bool = False) -> Response:
    """List the distributions that the caller may pull from: the public ones, and for users those that rules allow. With
    `caches`, list instead the caches that the caller administers, whose own paths serve nothing."""

    def render() -> bytes:
        return _render_distributions(context, caches=caches)

    async def make() -> bytes:
        return await context.threads.make(render)

    state = await context.registry.state(context.caller), context.registry.gates.stamp
    body = await context.registry.responses.get(
        ("distributions", context.caller, caches), state, context.cost_key, make, body_size
    )
    return Response(body, media_type="application/json")


def _render_distributions(context: RequestContext, *, caches: bool) -> bytes:
    """Return the JSON of DistributionsOut; on a thread."""

    def is_listed(distribution: Distribution) -> bool:
        if caches:
            return bool(distribution.remote) and context.may("admin", distribution.path)
        return context.registry.access.may_pull(context.caller, distribution)

    distributions = list(filter(is_listed, context.catalog.distributions.all()))
    marks = context.catalog.serving.content_marks(distributions)
    listed = []
    for distribution in distributions:
        out = _distribution_out(distribution, names_repository=_may_know_repository(context, distribution))
        may_change = context.registry.gates.cover(distribution.path, distribution.repository)
        content = "" if may_change else marks[distribution.path]
        listed.append(ListedDistribution(**out.model_dump(), content=content))
    return DistributionsOut(distributions=listed).model_dump_json().encode()


@router.put("/distributions/{path:path}", response_model=DistributionOut, status_code=200)
async def put_distribution(context: Context, path: NamePath, body: DistributionIn) -> DistributionOut:
    """Serve a repository, or one version of it, at a path; needs `admin` on the path and `pull` on the repository."""
    context.check("admin", parse_name(path))
    context.check("pull", parse_name(body.repository))
    old = context.catalog.distributions.find(path)
    if old is not None and old.remote:
        raise Conflict(f"{path} is a cache; delete it first")
    await context.threads.run(context.catalog.snapshots.get, body.repository, body.version)
    now = context.registry.now()
    fields = body.model_dump(exclude={"history_from"})
    distribution = await context.threads.commit(
        context.catalog.distributions.put,
        replace(old or Distribution(path, body.repository, now, now), **fields, updated_at=now),
        actor=context.account,
        history_from=body.history_from,
    )
    event = context.record("set-distribution", path, repository=distribution.repository, version=distribution.version)
    await context.threads.commit(context.registry.access.events.record, [event])
    return _distribution_out(distribution)


@router.delete("/distributions/{path:path}", status_code=204)
async def delete_distribution(context: Context, path: NamePath) -> None:
    """Delete a distribution; its repository stays."""
    context.check("admin", parse_name(path))
    await context.threads.commit(context.catalog.distributions.delete, path, actor=context.account)
    await context.threads.commit(context.registry.access.events.record, [context.record("delete-distribution", path)])


def _distribution_out(distribution: Distribution, *, names_repository: bool = True) -> DistributionOut:
    out = DistributionOut.model_validate(distribution, from_attributes=True)
    repository = distribution.repository if names_repository else ""
    return out.model_copy(update={"repository": repository, "cache": out.cache if distribution.remote else None})


def _tag_out(snapshot: Snapshot, tag: str, pulls: PullSums) -> TagOut:
    digest = snapshot.tags[tag]
    entry, pulled = snapshot.manifests[digest], pulls.of_tag(tag, digest)
    return TagOut(
        tag=tag,
        digest=digest,
        media_type=entry.media_type,
        size=entry.size,
        pulls=pulled.pulls if pulled else 0,
        last_pulled_at=pulled.last_pulled_at if pulled else None,
    )


def _repository_out(row: RepositoryRow) -> RepositoryOut:
    return RepositoryOut.model_validate(row, from_attributes=True)


def _version_out(row: VersionRow) -> VersionOut:
    return VersionOut.model_validate(row, from_attributes=True)
