"""A migration from another product's registry under way: what was asked for, what is planned, what came of the syncs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.catalog import Catalog
from catalog.quotas.quotas import Quota
from catalog.remotes.clients import Upstreams
from catalog.retention.rules import RetentionRule
from catalog.units import format_size
from flows.migrate.registry_request import RegistryMigrationRequest
from flows.migrate.report import PlannedRepository
from flows.runs.progress import Progress
from flows.sync_many.report import RepositoryOutcome
from oci.digest import Digest
from oci.remote.discovery.served import Served

Outcomes = Mapping[str, RepositoryOutcome]


@dataclass(frozen=True, slots=True)
class RegistryPlan:
    """What is migrated: `wanted` by the name here. `immutable` are globs of tags by that name, `retention` rules for here."""

    wanted: Mapping[str, Served]
    planned: tuple[PlannedRepository, ...]
    not_selected: tuple[str, ...] = ()
    immutable: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retention: tuple[RetentionRule, ...] = ()
    not_taken: tuple[str, ...] = ()
    quotas: tuple[Quota, ...] = ()
    proposed: str = ""
    untagged: Mapping[str, tuple[Digest, ...]] = field(default_factory=dict)

    @property
    def taken(self) -> tuple[str, ...]:
        """Return in words what is taken along besides content."""
        closed = sum(one.private for one in self.planned if one.target)
        said = [f"privacy: {closed} of {len(self.wanted)} repositories are private"] if closed else []
        said += [f"immutable tags of {path}: {' '.join(globs)}" for path, globs in sorted(self.immutable.items())]
        said += [f"retention rule {one.name} for {one.pattern}" for one in self.retention]
        said += [f"quota of {one.pattern}: {format_size(one.max_bytes or 0)}" for one in self.quotas]
        return (*said, self.proposed) if self.proposed else tuple(said)


class RegistryJob:
    """One migration from a registry under way. Use it within one event loop.

    `run_id` is what a version is made once for, `flow_run_id` what Prefect knows the run by, by default the same.

    No dataclass, so that Prefect does not walk through it looking for other tasks' results.
    """

    def __init__(
        self,
        request: RegistryMigrationRequest,
        catalog: Catalog,
        upstreams: Upstreams,
        run_id: str,
        progress: Progress,
        *,
        flow_run_id: str | None = None,
    ) -> None:
        self.flow_run_id = run_id if flow_run_id is None else flow_run_id
        self.request, self.catalog, self.upstreams, self.run_id = request, catalog, upstreams, run_id
        self.progress = progress
        self.progress.waits = upstreams.waiting
        self.chunks = 0
        self.notes: list[str] = []

    @property
    def actor(self) -> str:
        """Return the flow's name, under which what it changes is noted."""
        return f"migrate-{self.request.kind}"
