"""The catalogue of one process: opens what it is made of, and hands it out by noun."""

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from catalog.audit import Events
from catalog.blobs.content_store import ContentStore
from catalog.blobs.lake_data import lake_data
from catalog.blobs.opening import open_index, open_store
from catalog.blobs.shared_uploads.opening import open_uploads
from catalog.blobs.uploads import Clock
from catalog.commits.blob_rights import Rights
from catalog.commits.commit import Committer
from catalog.commits.offers import Offers
from catalog.commits.rights_upgrade import grant_rights_of_older_releases
from catalog.database.migration_mark import MarkFile
from catalog.disk_reserve import open_room
from catalog.distributions.records import Distributions
from catalog.lake.opening import open_lake
from catalog.maintenance.workers import Maintenance
from catalog.private_home import keep_private, make_home
from catalog.pull_counts import Pulls
from catalog.query.queries import Queries
from catalog.quotas.quotas import Quotas
from catalog.remotes.records import Remotes
from catalog.retention.rules import RetentionRules
from catalog.serving import Serving
from catalog.settings import Settings
from catalog.state.shared_state import open_state
from catalog.versions.blob_sources import Sources
from catalog.versions.changes import Lookups
from catalog.versions.deletion import Squasher
from catalog.versions.history import History
from catalog.versions.manifests import Manifests
from catalog.versions.pins import Pins
from catalog.versions.snapshot_cache import Snapshots
from catalog.versions.time_travel import TimeTravel


class Catalog:
    """One process's hold on the catalogue; a context manager, usable from any thread.

    What it hands out may block on disk or on the write lock; what says "no I/O" belongs on an event loop.
    """

    def __init__(self, settings: Settings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        with ExitStack() as opened:  # what is open when a later step fails is closed again
            self._open(settings, clock, opened)
            opened.pop_all()

    def _open(self, settings: Settings, clock: Clock, opened: ExitStack) -> None:
        self.state = open_state(settings)
        if self.state is not None:
            opened.callback(self.state.close)
        room = open_room(settings)
        room.throw_off()
        store = open_store(settings)
        postgres = None if self.state is None else self.state.database
        self._lake = lake = open_lake(settings, self.state, lake_data(settings), room=room)
        opened.callback(lake.close)
        file = settings.catalog_file.parent / "holdings.sqlite"
        allow = MarkFile(settings.catalog_file).check
        self._blob_index = blob_index = open_index(
            file, busy_timeout=settings.lock_timeout, room=room, allow=allow, postgres=postgres
        )
        opened.callback(blob_index.database.close)
        room.take_on()
        self.uploads = open_uploads(settings, store, blob_index, postgres, clock=clock, room=room)
        self.content = ContentStore(store, blob_index, self.uploads, clock=clock)
        self.distributions = Distributions(lake)
        self.remotes = Remotes(lake, self.state)
        self.quotas = Quotas(lake)
        self.retention_rules = RetentionRules(lake)
        self.sources = Sources(lake)
        self.events = Events(lake)
        self.query = Queries(settings, lake)
        self.snapshots = Snapshots(lake, self.distributions, self.remotes, self.quotas, limit=settings.snapshot_entries)
        self.pulls = Pulls(lake, on_recorded=self.snapshots.refresh)
        self.history = History(lake)
        self.time_travel = TimeTravel(settings.history_path, self.distributions, self.snapshots)
        self.serving = Serving(self.snapshots, self.time_travel, self.distributions, self.history)
        self.manifests = Manifests(self.content, limit=settings.manifest_cache)
        self.pins = Pins(lake)
        self.deletion = Squasher(lake, self.snapshots, self.distributions, self.pins, blob_index)
        grant_rights_of_older_releases(lake, blob_index, self.distributions)
        self.rights = Rights(self.content, blob_index, self.snapshots, self.distributions)
        self.offers = Offers(lake, self.content)
        lookups = Lookups(
            self.manifests.read_descriptor, self.rights.find_held, self.offers.blobs, self.history.children
        )
        self.commits = Committer(
            lake, self.snapshots, self.distributions, self.content, lookups, self.quotas, self.rights
        )
        self.maintenance = Maintenance(
            lake,
            blob_index,
            store,
            self.uploads,
            self.distributions,
            self.pulls,
            self.history,
            self.sources,
            clock=clock,
        )

    def check(self) -> None:
        """Read the catalogue and touch the store; raise what keeps this installation from serving."""
        self._lake.confirm()
        self._lake.read("SELECT 1 FROM schema_versions LIMIT 1")
        self.content.check()

    def close(self) -> None:
        """Close files and connections."""
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
