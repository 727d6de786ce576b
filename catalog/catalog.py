"""The catalogue of one process: opens what it is made of, and hands it out by noun."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, overload

from catalog.blobs.lake_data import lake_data
from catalog.blobs.opening import open_index, open_store
from catalog.commits.rights_upgrade import grant_rights_of_older_releases
from catalog.database.migration_mark import MarkFile
from catalog.disk_reserve import open_room
from catalog.distributions.records import Distributions
from catalog.gates.facts_reader import RepositoryFactsReader
from catalog.gates.statements import StatementContent
from catalog.holds.records import Holds
from catalog.lake.opening import open_lake
from catalog.lifecycle.records import Lifecycles
from catalog.private_home import keep_private, make_home
from catalog.quotas.quotas import Quotas
from catalog.remotes.records import Remotes
from catalog.settings import Settings
from catalog.state.shared_state import open_state
from catalog.versions.change_feed import ChangeFeed
from catalog.versions.snapshot_cache import Snapshots

if TYPE_CHECKING:
    from catalog.audit import Events
    from catalog.blobs.content_store import ContentStore
    from catalog.blobs.uploads import Clock, Uploads
    from catalog.browse.browse import Browse
    from catalog.browse.reader import Reader
    from catalog.commits.blob_rights import Rights
    from catalog.commits.commit import Committer
    from catalog.commits.offers import Offers
    from catalog.gates.passing import PassingContent
    from catalog.maintenance.workers import Maintenance
    from catalog.policy.store import Policies
    from catalog.policy_gates.logged_times import LoggedTimes
    from catalog.pull_counts import Pulls
    from catalog.query.queries import Queries
    from catalog.retention.rules import RetentionRules
    from catalog.search.search import Search
    from catalog.serving import Serving
    from catalog.versions.blob_sources import Sources
    from catalog.versions.deletion import Squasher
    from catalog.versions.history import History
    from catalog.versions.manifests import Manifests
    from catalog.versions.pins import Pins
    from catalog.versions.time_travel import TimeTravel
    from catalog.watch.records import WatchRecords

Made = TypeVar("Made")


class LazyPart(Generic[Made]):
    """A part of the catalogue that is made, and whose modules are loaded, when it is first used; once for all threads."""

    def __init__(self, make: "Callable[[Catalog], Made]") -> None:
        self._make, self.__doc__ = make, make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, catalog: None, owner: type) -> Self: ...
    @overload
    def __get__(self, catalog: "Catalog", owner: type) -> Made: ...
    def __get__(self, catalog: "Catalog | None", owner: type) -> Self | Made:
        if catalog is None:
            return self
        made: dict[str, Made] = vars(catalog)  # which Python asks first from then on
        with catalog.making:
            if self._name not in made:
                made[self._name] = self._make(catalog)
            return made[self._name]


class Catalog:
    """One process's hold on the catalogue; a context manager, usable from any thread.

    What it hands out may block on disk or on the write lock; what says "no I/O" belongs on an event loop.
    A command loads what it asks for; a process that serves calls `make_all` before its first request.
    """

    def __init__(self, settings: Settings, *, clock: "Clock" = time.time) -> None:
        self.settings = settings
        self.making, self._clock = threading.RLock(), clock
        with ExitStack() as opened:  # what is open when a later step fails is closed again
            self._open(settings, opened)
            opened.pop_all()

    def _open(self, settings: Settings, opened: ExitStack) -> None:
        self.state = open_state(settings)
        if self.state is not None:
            opened.callback(self.state.close)
        self._room = room = open_room(settings)
        room.throw_off()
        self._store = open_store(settings)
        self._postgres = None if self.state is None else self.state.database
        self._lake = lake = open_lake(settings, self.state, lake_data(settings), room=room)
        opened.callback(lake.close)
        file = settings.catalog_file.parent / "holdings.sqlite"
        allow = MarkFile(settings.catalog_file).check
        self._blob_index = open_index(
            file, busy_timeout=settings.lock_timeout, room=room, allow=allow, postgres=self._postgres
        )
        opened.callback(self._blob_index.database.close)
        room.take_on()
        feed = ChangeFeed(lake)  # before what it keeps current is read, so that nothing falls between the two
        self.distributions = Distributions(lake)
        self.remotes = Remotes(lake, self.state)
        self.quotas = Quotas(lake)
        self.facts = RepositoryFactsReader(lake)
        self.holds = Holds(lake, self.facts, lambda: self.logged_times, StatementContent(lambda: self.content))
        self.lifecycles = Lifecycles(lake)
        gates = (self.holds, self.lifecycles)
        self.snapshots = Snapshots(
            lake, feed, self.distributions, self.remotes, self.quotas, gates, limit=settings.snapshot_entries
        )
        grant_rights_of_older_releases(lake, self._blob_index, self.distributions)

    def make_all(self) -> None:
        """Make every part now, so that no request has to wait for one."""
        self._read_records()
        for name, part in vars(Catalog).items():
            if isinstance(part, LazyPart):
                getattr(self, name)

    def _read_records(self) -> None:
        """Read what writes look at; a write itself must not be the first to ask for it."""
        for one in (self.distributions, self.remotes, self.quotas, self.holds, self.lifecycles):
            one.ensure_read()

    @LazyPart
    def uploads(self) -> "Uploads":
        from catalog.blobs.shared_uploads.opening import open_uploads

        return open_uploads(
            self.settings, self._store, self._blob_index, self._postgres, clock=self._clock, room=self._room
        )

    @LazyPart
    def content(self) -> "ContentStore":
        from catalog.blobs.content_store import ContentStore

        return ContentStore(self._store, self._blob_index, self.uploads, clock=self._clock)

    @LazyPart
    def retention_rules(self) -> "RetentionRules":
        from catalog.retention.rules import RetentionRules

        return RetentionRules(self._lake)

    @LazyPart
    def sources(self) -> "Sources":
        from catalog.versions.blob_sources import Sources

        return Sources(self._lake)

    @LazyPart
    def events(self) -> "Events":
        from catalog.audit import Events

        return Events(self._lake)

    @LazyPart
    def query(self) -> "Queries":
        from catalog.query.queries import Queries

        return Queries(self.settings, self._lake, lambda: self.search.prepare())

    @LazyPart
    def pulls(self) -> "Pulls":
        from catalog.pull_counts import Pulls

        return Pulls(self._lake, on_recorded=self.snapshots.refresh)

    @LazyPart
    def history(self) -> "History":
        from catalog.versions.history import History

        return History(self._lake)

    @LazyPart
    def browse(self) -> "Browse":
        from catalog.browse.browse import Browse

        return Browse(self._lake)

    @LazyPart
    def reader(self) -> "Reader":
        from catalog.browse.reader import Reader

        return Reader(self._lake)

    @LazyPart
    def search(self) -> "Search":
        from catalog.search.documents import DocumentReader
        from catalog.search.search import Search

        documents = DocumentReader(
            self.content, self.snapshots, self.rights.usable_size, self.manifests.read, clock=self._clock
        )
        return Search(self.settings, self._lake, self.snapshots, documents, self._blob_index)

    @LazyPart
    def time_travel(self) -> "TimeTravel":
        from catalog.versions.time_travel import TimeTravel

        return TimeTravel(self.settings.history_path, self.distributions, self.snapshots)

    @LazyPart
    def serving(self) -> "Serving":
        from catalog.serving import Serving

        return Serving(self.snapshots, self.time_travel, self.distributions, self.history)

    @LazyPart
    def manifests(self) -> "Manifests":
        from catalog.versions.manifests import Manifests

        return Manifests(self.content, limit=self.settings.manifest_cache)

    @LazyPart
    def passing(self) -> "PassingContent":
        from catalog.gates.passing import PassingContent

        return PassingContent(self.snapshots.get, self.manifests)

    @LazyPart
    def watches(self) -> "WatchRecords":
        from catalog.watch.records import WatchRecords

        return WatchRecords(self._lake)

    @LazyPart
    def pins(self) -> "Pins":
        from catalog.versions.pins import Pins

        return Pins(self._lake)

    @LazyPart
    def deletion(self) -> "Squasher":
        from catalog.versions.deletion import Squasher

        self._read_records()
        return Squasher(self._lake, self.snapshots, self.distributions, self.pins, self._blob_index)

    @LazyPart
    def rights(self) -> "Rights":
        from catalog.commits.blob_rights import Rights

        return Rights(self.content, self._blob_index, self.snapshots, self.distributions)

    @LazyPart
    def logged_times(self) -> "LoggedTimes":
        from catalog.policy_gates.logged_times import LoggedTimes

        return LoggedTimes(lambda: self.policies, self.history.children)

    @LazyPart
    def policies(self) -> "Policies":
        from catalog.policy.store import Policies, open_policies
        from catalog.policy.trust_roots import TrustCache, read_trust_config, trust_stamp
        from catalog.policy.version_source import VersionSource

        return Policies(
            open_policies(self.settings, self.state),
            lambda snapshot: VersionSource(
                snapshot, self.manifests, self.rights, self.history.children, self.history.first_seen
            ),
            TrustCache(lambda: read_trust_config(self.settings), stamp=lambda: trust_stamp(self.settings)),
            lambda events: self.events.record(events),
        )

    @LazyPart
    def offers(self) -> "Offers":
        from catalog.commits.offers import Offers

        return Offers(self._lake, self.content)

    @LazyPart
    def commits(self) -> "Committer":
        from catalog.commits.commit import Committer
        from catalog.versions.changes import Lookups

        self._read_records()
        lookups = Lookups(
            self.manifests.read_descriptor, self.rights.find_held, self.offers.blobs, self.history.children
        )
        return Committer(
            self._lake, self.snapshots, self.distributions, self.content, lookups, self.quotas, self.rights
        )

    @LazyPart
    def maintenance(self) -> "Maintenance":
        from catalog.maintenance.workers import Maintenance

        self._read_records()
        return Maintenance(
            self._lake,
            self._blob_index,
            self._store,
            self.uploads,
            self.distributions,
            self.pulls,
            self.history,
            self.sources,
            clock=self._clock,
        )

    def check(self) -> None:
        """Read the catalogue and touch the store; raise what keeps this installation from serving."""
        self._lake.confirm()
        self._lake.read("SELECT 1 FROM schema_versions LIMIT 1")
        self.content.check()

    def give_back_memory(self) -> bool:
        """Give back what DuckDB remembers of former snapshots, if that is much; return whether it was. Raises CatalogUnusable."""
        return self._lake.give_back_memory()

    def close(self) -> None:
        """Close files and connections."""
        if "search" in vars(self):
            self.search.close()
        if "logged_times" in vars(self):
            self.logged_times.close()
        self._lake.close()
        self._blob_index.database.close()
        if self.state is not None:
            self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_catalog(settings: Settings) -> Catalog:
    """Open this installation's catalogue, making or migrating it where needed, in a home that is the owner's alone.

    Raises CatalogUnusable.
    """
    make_home(settings)
    catalog = Catalog(settings)
    try:
        keep_private(settings)
    except BaseException:
        catalog.close()
        raise
    return catalog
