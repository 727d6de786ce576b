"""Management JSON under /api/v1: for programs that administer or replicate this installation. The rights are those of `/v2`."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from catalog.distributions.records import Distribution
from catalog.pull_counts import PullSums, sum_pulls
from catalog.versions.rows import RepositoryRow, VersionRow
from catalog.versions.snapshot import Snapshot
from oci.errors import Conflict
from oci.reference import MAX_NAME, NAME_PATTERN, parse_name
from registry_api.context import Registry
from registry_api.http.response_cache import body_size
from registry_api.management.dependencies import FAILURES, Asker, Count, Last, ToldErrors, asker_of

NUMBER = 2**53
NamePath = Annotated[
    str,
    Path(description="A name, slashes included.", json_schema_extra={"pattern": NAME_PATTERN, "maxLength": MAX_NAME}),
]


class CacheOut(BaseModel):
    """What a cache takes, who may bring it, and when it lets go; sizes in bytes, 0 for no limit."""

    include: list[str] = []
    exclude: list[str] = []
    bring: str = "anyone"
    max_size: int = 0
    keep_unused_days: float = 0.0


class DistributionOut(BaseModel):
    """A path that content is served at: `version` null is the repository's latest; `remote` is what a cache is for.

    `repository` is empty for those who may not pull by its own name. `history_from` is the first version that a public path
    shows to everybody below the path of the past.
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
    """`content` is another text as soon as the path serves another version."""

    content: str


class DistributionsOut(BaseModel):
    """The distributions that the asker may pull from, by path."""

    distributions: list[ListedDistribution]


class DistributionIn(BaseModel):
    """What a path is to serve."""

    model_config = ConfigDict(extra="forbid")

    repository: str = Field(json_schema_extra={"pattern": NAME_PATTERN, "maxLength": MAX_NAME})
    version: int | None = Field(None, ge=0, le=NUMBER)
    private: bool = False
    description: str = Field("", max_length=1000)
    labels: dict[str, str] = Field(default_factory=dict, max_length=100)
    immutable_tags: tuple[str, ...] = Field((), max_length=100)
    history_from: int | None = Field(
        None, ge=1, le=NUMBER, description="First version of the past that everybody may pull once the path is public."
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


class VersionOut(BaseModel):
    """One version, and the operation that made it."""

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


class TagOut(BaseModel):
    """A tag and what it points to; `pulls` are those of the tag, and by digest of what it points to."""

    tag: str
    digest: str
    media_type: str
    size: int
    pulls: int = 0
    last_pulled_at: datetime | None = None


def management_routes(registry: Registry) -> APIRouter:
    """Repositories, versions, tags and distributions."""
    router = APIRouter(prefix="/api/v1", tags=["content"], route_class=ToldErrors, responses=FAILURES)
    asking = Depends(asker_of(registry))
    catalog, run = registry.catalog, registry.threads.run

    def names(asker: Asker, one: Distribution) -> bool:
        """Whether the asker may know which repository a path leads to."""
        own = catalog.distributions.find(one.repository)
        return (
            one.path == one.repository
            or asker.may("pull", one.repository)
            or (own is not None and registry.gate.may_pull(asker.caller, own))
        )

    @router.get("/repositories", response_model=list[RepositoryOut])
    async def list_repositories(n: Count = 100, last: Last = "", asker: Asker = asking) -> list[RepositoryOut]:
        """The repositories that rules let the asker pull from, by name."""
        await registry.find_distribution("")

        async def make() -> list[RepositoryRow]:
            return await registry.threads.make(catalog.history.repositories)

        rows = await registry.answers.get(
            "repositories", catalog.serving.state, asker.key, make, lambda made: 500 * len(made)
        )
        found = [row for row in rows if row.name > last and asker.may("pull", row.name)]
        return [_repository_out(row) for row in found[:n]]

    @router.get("/repositories/{name:path}", response_model=RepositoryOut)
    async def show_repository(name: NamePath, asker: Asker = asking) -> RepositoryOut:
        """One repository."""
        asker.check("pull", parse_name(name))
        return _repository_out(await run(catalog.history.repository, name))

    @router.get("/versions/{name:path}", response_model=list[VersionOut])
    async def list_versions(
        name: NamePath,
        n: Count = 100,
        before: Annotated[int, Query(ge=0, le=NUMBER, description="Only versions below this.")] = NUMBER,
        asker: Asker = asking,
    ) -> list[VersionOut]:
        """A repository's versions, newest first."""
        asker.check("pull", parse_name(name))
        rows = await run(catalog.history.versions, name)
        return [_version_out(row) for row in rows if row.number < before][:n]

    @router.get("/tags/{name:path}", response_model=list[TagOut])
    async def list_tags(
        name: NamePath,
        version: Annotated[int | None, Query(ge=0, le=NUMBER, description="Default: the latest.")] = None,
        n: Count = 100,
        last: Last = "",
        asker: Asker = asking,
    ) -> list[TagOut]:
        """A version's tags in ASCII order."""
        asker.check("pull", parse_name(name))
        snapshot = await run(catalog.snapshots.get, name, version)
        pulls = sum_pulls(await run(catalog.pulls.read_one, name))
        return [_tag_out(snapshot, tag, pulls) for tag in snapshot.tags_after(last, n)]

    @router.get("/distributions", response_model=DistributionsOut)
    async def list_distributions(*, caches: bool = False, asker: Asker = asking) -> Response:
        """Everybody sees the public distributions, users those that they may pull from too. With `caches`, administrators see the
        caches instead, from whose own paths nothing can be pulled."""

        def render() -> bytes:
            found = [
                one
                for one in catalog.distributions.all()
                if (
                    one.remote and asker.may("admin", one.path) if caches else registry.gate.may_pull(asker.caller, one)
                )
            ]
            marks = catalog.serving.content_marks(found)
            shown = [(one, _distribution_out(one, names_repository=names(asker, one))) for one in found]
            listed = [ListedDistribution(**out.model_dump(), content=marks[one.path]) for one, out in shown]
            return DistributionsOut(distributions=listed).model_dump_json().encode()

        async def make() -> bytes:
            return await registry.threads.make(render)

        asked, state = ("distributions", asker.caller, caches), await registry.state(asker.caller)
        body = await registry.answers.get(asked, state, asker.key, make, body_size)
        return Response(body, media_type="application/json")

    @router.put("/distributions/{path:path}", response_model=DistributionOut, status_code=200)
    async def put_distribution(path: NamePath, wanted: DistributionIn, asker: Asker = asking) -> DistributionOut:
        """Serve a repository, or one version of it, at a path; needs `admin` on the path and `pull` on the repository."""
        asker.check("admin", parse_name(path))
        asker.check("pull", parse_name(wanted.repository))
        old = catalog.distributions.find(path)
        if old is not None and old.remote:
            raise Conflict(f"{path} is a cache; delete it first")
        await run(catalog.snapshots.get, wanted.repository, wanted.version)
        now = registry.now()
        fields = wanted.model_dump(exclude={"history_from"})
        made = await registry.threads.commit(
            catalog.distributions.put,
            replace(old or Distribution(path, wanted.repository, now, now), **fields, updated_at=now),
            actor=asker.caller.account,
            history_from=wanted.history_from,
        )
        event = asker.record("set-distribution", path, repository=made.repository, version=made.version)
        await registry.threads.commit(registry.gate.events.record, [event])
        return _distribution_out(made)

    @router.delete("/distributions/{path:path}", status_code=204)
    async def delete_distribution(path: NamePath, asker: Asker = asking) -> None:
        """Serve nothing at a path any more; the repository stays."""
        asker.check("admin", parse_name(path))
        await registry.threads.commit(catalog.distributions.delete, path, actor=asker.caller.account)
        await registry.threads.commit(registry.gate.events.record, [asker.record("delete-distribution", path)])

    return router


def _distribution_out(one: Distribution, *, names_repository: bool = True) -> DistributionOut:
    made = DistributionOut.model_validate(one, from_attributes=True)
    repository = one.repository if names_repository else ""
    return made.model_copy(update={"repository": repository, "cache": made.cache if one.remote else None})


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
