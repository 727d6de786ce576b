"""The only writer of the catalogue: concurrent commits are grouped into one transaction under the lock."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.blobs.content_store import ContentStore
from catalog.blobs.origins import source_records
from catalog.commits.blob_rights import Rights, proven_bytes
from catalog.commits.commit_log import CommitLog
from catalog.commits.commit_stats import CommitStats
from catalog.distributions.openings import note_openings
from catalog.distributions.records import Distribution, Distributions, distribution_row
from catalog.lake.connection import Lake
from catalog.quotas.quotas import Quotas
from catalog.versions.changes import AddManifest, Commit, CommitResult, Effect, Lookups, plan_effect
from catalog.versions.history import find_operation, operations_made
from catalog.versions.manifests import RawCache
from catalog.versions.rows import Record, effect_records, first_distribution, fit_records
from catalog.versions.snapshot import Snapshot, total_of
from catalog.versions.snapshot_cache import Snapshots
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import CatalogBusy, CatalogUnavailable, CatalogUnusable, EntrepotError, StorageFull
from oci.image_config import CONFIGS, MAX_CONFIG, ImageConfig, parse_config
from oci.traces.spans import traced

_GROUP = 256
"""How many commits one transaction takes at most."""


Planner = Callable[[Snapshot], Commit]
"""Makes the commit for the version of a repository that is its latest; it may read the catalogue, and neither write nor wait."""


_READ_AHEAD = 16
"""New manifests of a commit that are read before it waits for the lock: those of a push. A sync has just had many in hand."""
_CONFIGS = 4 * 1024 * 1024
"""Bytes of image configs that are kept for the commits under way."""

_Leases = dict[str, Mapping[Digest, int]]
"""By repository its leases with their sizes, as one transaction has read them: once, however many commits it takes."""


@dataclass(slots=True)
class _Waiting:
    commit: Commit
    planner: Planner | None = None
    result: CommitResult | None = None
    error: BaseException | None = None

    def is_done(self) -> bool:
        return self.result is not None or self.error is not None


class Committer:
    """Commits from any thread; the first to come writes for all that wait meanwhile."""

    def __init__(
        self,
        lake: Lake,
        snapshots: Snapshots,
        distributions: Distributions,
        content: ContentStore,
        lookups: Lookups,
        quotas: Quotas,
        rights: Rights,
    ) -> None:
        self._lake, self._snapshots, self._content, self._lookups = lake, snapshots, content, lookups
        self._distributions, self._quotas, self._rights = distributions, quotas, rights
        self._queue: list[_Waiting] = []
        self._guard = threading.Condition(threading.Lock())
        self._leader = 0
        self._configs = RawCache(_CONFIGS)
        self.stats = CommitStats()
        self.on_version: Callable[[Commit, CommitResult], None] | None = None
        """Called in the committing thread with each commit of this process that made a version; it must not raise."""

    @property
    def ways(self) -> Mapping[str, int]:
        """Return how many commits were written directly, and how many by DuckDB for which reason."""
        return self._lake.commit_counts

    def commit(self, commit: Commit) -> CommitResult:
        """Make one version of what the commit asks, or none when it is so already; durable on return.

        One commit's refusal does not touch the others of its group.
        Raises Conflict when a requirement fails, ManifestUnknown or ManifestBlobUnknown when parts are missing,
        ManifestInvalid when a manifest misstates a size, CatalogUnusable when the lock cannot be had.
        """
        self._read_ahead(commit)
        return self._wait(_Waiting(commit))

    def commit_latest(self, repository: str, planner: Planner) -> CommitResult:
        """Plan on the latest version under the write lock, and commit that: for one to whom others were too quick.

        All writers wait meanwhile: `planner` has to be quick, and must neither write nor ask anybody. Raises what it and `commit`
        raise.
        """
        return self._wait(_Waiting(Commit(repository, "", (), "", "", datetime.fromtimestamp(0, UTC)), planner))

    def _read_ahead(self, commit: Commit) -> None:
        """Read from a store over the network what the commit will look into: who waits for the lock does not wait for that.

        What is missing or damaged counts when the commit is planned.
        """
        if not self._content.is_remote:
            return
        base = self._snapshots.peek(commit.repository)
        added = [
            change.descriptor
            for change in commit.changes
            if isinstance(change, AddManifest) and (base is None or change.descriptor.digest not in base.manifests)
        ]
        if len(added) > _READ_AHEAD:
            return
        for descriptor in added:
            with suppress(EntrepotError):
                self._keep_config(base or Snapshot(commit.repository, 0), self._lookups.manifest(descriptor).config)

    def _keep_config(self, base: Snapshot, config: Descriptor | None) -> None:
        if config is None or not _is_readable(config, config.size) or self._configs.get(config.digest) is not None:
            return
        found = self._rights.find_held(base, {config.digest}).get(config.digest)
        if found is not None and found.is_usable and _is_readable(config, found.size):
            self._configs.keep(config.digest, self._content.read(config.digest))

    def log(self) -> CommitLog:
        """Return a reader of the record of commits, for one who follows it; two queries."""
        return CommitLog(self._lake)

    def _wait(self, waiting: _Waiting) -> CommitResult:
        told = {"entrepot.repository": waiting.commit.repository, "entrepot.operation": waiting.commit.operation}
        with traced("commit", attributes=told) as span:
            result = self._wait_for_turn(waiting)
            if span is not None:
                span.set("entrepot.version", result.version)
            return result

    def _wait_for_turn(self, waiting: _Waiting) -> CommitResult:
        if self._leader == threading.get_ident():
            raise RuntimeError("a commit within a commit would wait for itself")
        began = time.monotonic()
        with self._guard:
            self._queue.append(waiting)
        while self._begin_to_lead(waiting):
            try:
                self._commit_next()
            finally:
                with self._guard:
                    self._leader = 0
                    self._guard.notify_all()
        with self._guard:
            self.stats.waited += time.monotonic() - began
        if waiting.error is not None:
            raise waiting.error
        assert waiting.result is not None
        if waiting.result.changed and self.on_version is not None:
            self.on_version(waiting.commit, waiting.result)
        return waiting.result

    def _begin_to_lead(self, waiting: _Waiting) -> bool:
        """Wait until a commit is done (False), or nobody leads: then this thread does.

        Whoever is done goes on beside the next leader, so that its next commit is in the group after.
        """
        with self._guard:
            self._guard.wait_for(lambda: waiting.is_done() or not self._leader)
            if waiting.is_done():
                return False
            self._leader = threading.get_ident()
            return True

    def _commit_next(self) -> None:
        """Commit what waits, as much as one group takes."""
        with self._guard:
            group, self._queue = self._queue[:_GROUP], self._queue[_GROUP:]
        try:
            for planned in [one for one in group if one.planner]:  # each sees what is written already
                self._commit_group([planned])
            self._commit_group([one for one in group if one.planner is None])
        except BaseException:  # this thread is to end; the next one of those that wait goes on
            with self._guard:
                self._queue = [one for one in group if not one.is_done()] + self._queue
            raise

    def preview(self, commit: Commit) -> CommitResult:
        """Return what a commit would make now; nothing is written. Raises what `commit` raises."""
        result = self._plan(commit, {}, {}, self._done_before([_Waiting(commit)]), lease=False)[0]
        if result.changed:
            self._quotas.begin().reserve(result.repository, total_of(result.snapshot))
        return result

    def _commit_group(self, group: Sequence[_Waiting], *, is_repeated: bool = False) -> None:
        """Every member is done afterwards, whatever happens. A group whose write fails is written in halves, and these again,
        so that what cannot be written fails alone."""
        if not group:
            return
        began = time.monotonic()
        try:
            results, refusals = self._write(group, is_repeated=is_repeated)
        except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
            if len(group) == 1 or isinstance(error, CatalogBusy | CatalogUnavailable | StorageFull):
                for waiting in group:
                    waiting.error = error
                return
            for half in (group[: len(group) // 2], group[len(group) // 2 :]):
                self._commit_group(half, is_repeated=True)
        except BaseException as error:  # this thread is to end
            for waiting in group:
                waiting.error = waiting.error or error
            raise
        else:
            self.stats.seconds += time.monotonic() - began
            self.stats.versions += sum(result.changed for _, result in results)
            for waiting, result in results:
                waiting.result = result
            for waiting, refusal in refusals:
                waiting.error = refusal

    def _write(
        self, group: Sequence[_Waiting], *, is_repeated: bool
    ) -> tuple[list[tuple[_Waiting, CommitResult]], list[tuple[_Waiting, Exception]]]:
        """Write a group in one transaction; return what came of its members, and which were refused. `is_repeated`: a write that
        failed may have landed."""
        results: list[tuple[_Waiting, CommitResult]] = []
        refusals: list[tuple[_Waiting, Exception]] = []
        made: dict[str, Snapshot] = {}
        leases: _Leases = {}
        records: list[Record] = []
        served: list[Distribution] = []
        sources: list[Record] = []
        with self._lake.write() as writer:
            self._snapshots.refresh()
            fitting = self._quotas.begin()
            done_before = self._done_before(self._doubtful(group, is_repeated), is_repeated=is_repeated)
            for waiting in group:
                try:
                    if waiting.planner is not None:
                        name = waiting.commit.repository
                        waiting.commit = waiting.planner(self._snapshots.find(name) or Snapshot(name, 0))
                        done_before = self._done_before([waiting])
                    result, some, origins = self._plan(waiting.commit, made, leases, done_before)
                    if result.changed:
                        fitting.reserve(result.repository, total_of(result.snapshot))
                except (CatalogUnusable, StorageFull):
                    raise  # the transaction is of no more use
                except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
                    refusals.append((waiting, error))
                    continue
                results.append((waiting, result))
                records += some
                sources += origins
                if result.changed:
                    is_first = result.repository not in made and not self._snapshots.has(result.repository)
                    made[result.repository] = result.snapshot
                    is_served = self._distributions.find(result.repository) is not None
                    if is_first and not is_served and waiting.commit.serve != "nobody":
                        served.append(first_distribution(waiting.commit, result.version))
            if made:
                writer.append("records", fit_records(records))
                writer.insert("distributions", [distribution_row(one) for one in served])
                writer.append("sources", sources)
                actors, operations = _description([waiting.commit for waiting, _ in results])
                paths = {one.path: "set" for one in served}
                writer.describe(
                    actors,
                    operations,
                    versions=_numbers(results),
                    distributions=paths,
                    totals=fitting.made,
                    opened=note_openings(served),
                )
        self._snapshots.keep(made.values(), opened=served, before=writer.before, after=writer.after)
        return results, refusals

    def _doubtful(self, group: Sequence[_Waiting], is_repeated: bool) -> Sequence[_Waiting]:
        """Return the planned commits that may have been made already: not those whose repositories have had no version since
        somebody looked. The lock is held, and memory knows all that was committed."""
        planned = [one for one in group if one.planner is None]
        if is_repeated:
            return planned
        number_of = self._snapshots.last_number
        return [one for one in planned if number_of(one.commit.repository) > one.commit.checked_until]

    def _done_before(self, group: Sequence[_Waiting], *, is_repeated: bool = False) -> frozenset[tuple[str, str]]:
        """Return the repositories, with operation ids, of commits that have been made already, where that is asked at all."""
        commits = [one.commit for one in group if one.commit.resumable or is_repeated]
        if not commits:
            return frozenset()
        return operations_made(self._lake, {(one.repository, one.operation_id) for one in commits})

    def _plan(
        self,
        commit: Commit,
        made: Mapping[str, Snapshot],
        leases: _Leases,
        done_before: Collection[tuple[str, str]],
        *,
        lease: bool = True,
    ) -> tuple[CommitResult, list[Record], list[Record]]:
        """Return what one commit comes to on top of those before it in the group: its result, records, and rows of `sources`."""
        name = commit.repository
        base = made.get(name) or self._snapshots.find(name) or Snapshot(name, 0)
        if (name, commit.operation_id) in done_before and (
            number := find_operation(self._lake, name, commit.operation_id)
        ) is not None:
            done = self._snapshots.get(name, number) if number else base
            return CommitResult(name, number, changed=False, snapshot=done), [], []
        effect = plan_effect(base, commit, self._lookups)
        if not effect.delta and not (commit.founds and not base.version):
            return CommitResult(name, base.version, changed=False, snapshot=base), [], []
        snapshot = base.forward(self._snapshots.number_after(base), effect.delta)
        if snapshot.deferred:
            if name not in leases:
                leases[name] = self._rights.leased(name)
            snapshot = snapshot.with_proven(proven_bytes(snapshot, leases[name]))
        for digest in effect.leased if lease else ():  # one that no version comes of goes with time
            self._content.lease(name, digest)
            leases.pop(name, None)
        configs = {one.digest: self._read_config(snapshot, effect, one.config) for one in effect.manifests}
        records = effect_records(commit, base, snapshot, effect, configs)
        sources = source_records(name, snapshot.version, effect.deferred, commit.created_at)
        return CommitResult(name, snapshot.version, changed=True, snapshot=snapshot), records, sources

    def _read_config(self, version: Snapshot, effect: Effect, config: Descriptor | None) -> ImageConfig:
        """Read what the catalogue says of an image."""
        found = effect.held.get(config.digest) if config else None
        if config is None or found is None or not _is_readable(config, max(config.size, found.size)):
            return ImageConfig()
        digest = config.digest
        is_received = digest in version.blobs and digest not in version.deferred
        if not (found.is_usable or is_received or digest in effect.leased):  # what others hold is not looked into
            return ImageConfig()
        raw = self._configs.get(digest)
        return parse_config(self._content.read(digest, size=found.size) if raw is None else raw)


def _is_readable(config: Descriptor, size: int) -> bool:
    return config.media_type in CONFIGS and size <= MAX_CONFIG


def _description(commits: Iterable[Commit]) -> tuple[str, str]:
    commits = list(commits)
    actors = ", ".join(dict.fromkeys(commit.actor for commit in commits))
    operations = ", ".join(f"{commit.operation} {commit.repository} {commit.operation_id}" for commit in commits[:10])
    return actors, operations


def _numbers(results: Iterable[tuple[_Waiting, CommitResult]]) -> dict[str, range]:
    """Return which versions a group has made of each repository."""
    made: dict[str, range] = {}
    for _, result in results:
        if result.changed:
            first = made[result.repository][0] if result.repository in made else result.version
            made[result.repository] = range(first, result.version + 1)
    return made
