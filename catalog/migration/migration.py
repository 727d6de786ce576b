"""The steps of a migration, each of which may be killed and run again.

1. `begin`: check both ends, and mark the target as one that content arrives at.
2. `copy_ahead`: copy files and rows while pulls and pushes go on.
3. `switch`: hold all locks of the source; copy what is new; compare; mark the source as moved.
4. `finish`: open the target to all.

Before the mark of step 3 the source is in charge, and the next run copies again what differs. After it the target is, and the
next run does step 4 alone. So at no moment two catalogues take changes.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from catalog.blobs.lake_data import lake_data
from catalog.database.migration_mark import MigrationMark
from catalog.disk_reserve import open_room
from catalog.lake.connection import Lake
from catalog.lake.opening import open_lake
from catalog.migration.ends import End, SqliteEnd, State, fingerprint_of_documents
from catalog.migration.lake_copy import LakeCopy
from catalog.migration.row_copy import (
    HOLDINGS,
    QUEUE,
    Fingerprint,
    compare_table,
    copy_table,
    count_rows,
    next_event_id,
)
from catalog.private_home import keep_private
from catalog.settings import Settings, read_settings
from catalog.state.shared_state import SharedState, open_state
from oci.errors import CatalogBusy, CatalogUnusable, SettingsInvalid

Progress = Callable[[str], None]
_TABLES = "SELECT table_name FROM {meta}ducklake_table WHERE end_snapshot IS NULL ORDER BY table_name"


@dataclass(slots=True)
class MigrationReport:
    """What a migration did. `rows` by table; `held` are the seconds in which nobody could write."""

    source: str
    target: str
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0
    copied_files: int = 0
    snapshot: int = 0
    held: float = 0.0
    was_moved: bool = False


class Migration:
    """One run of a migration. `reached` is told of each point at which it may be killed."""

    def __init__(self, settings: Settings, target: Settings, *, reached: Progress = lambda _: None) -> None:
        """Raise SettingsInvalid for two ends that are no migration."""
        if (settings.catalog_address is None) == (target.catalog_address is None):
            raise SettingsInvalid(
                "a migration is from SQLite to PostgreSQL or back; move a catalogue of one kind with the tools of its database"
            )
        self._settings, self._target_settings, self._reached = settings, target, reached
        self.source, self.target = open_end(settings, is_target=False), open_end(target, is_target=True)
        self._copy = LakeCopy(self.source.lake, self.target.lake)
        self._budgets: Mapping[str, str] = {}
        self.report = MigrationReport(self.source.place, self.target.place)

    def find_moved(self) -> bool:
        """Return whether the source has moved to the target already; raise CatalogMoved where it has moved elsewhere."""
        found = self.source.mark()
        if found is None:
            return False
        if found.state == "moved" and found.other == self.target.place:
            self.report.was_moved = True
            return True
        found.check(self.source.place)
        raise AssertionError

    def begin(self, *, dry_run: bool = False) -> None:
        """Check both ends; unless it is a `dry_run`, mark the target. Raise CatalogUnusable for one that is not free."""
        with self._opened() as (lake, _):
            mark = self._mark(lake, "arriving", self.source.place)
            self.target.check_free(mark)
            if not dry_run:
                self.target.begin(mark)
        self._reached("begun")

    def count(self) -> None:
        """Count what would be moved, for a dry run."""
        with self._copy as copy:
            self.report.files = len(copy.files())
        with self._opened() as (lake, state):
            self.report.snapshot = _newest(lake)
            for database, tables in ((state.holdings, HOLDINGS), (state.queue, QUEUE)):
                self.report.rows |= {table.name: count_rows(database, table) for table in tables}
            for (name,) in lake.read_metadata(_TABLES):
                self.report.rows[str(name)] = int(str(lake.read(f"SELECT count(*) FROM {name}")[0][0]))

    def copy_ahead(self) -> None:
        """Copy files and rows while others write."""
        with self._copy, self._opened() as (lake, source), _closing(self.target.open_state()) as target:
            for name in _tables(lake):
                lake.flush(name)
            self._reached("flushed")
            self.report.copied_files += self._copy.copy_files(is_final=False)[0]
            self._reached("files")
            for table in HOLDINGS:
                copy_table(source.holdings, target.holdings, table)
            self._reached("rows")
            self._copy.make_target()

    def switch(self) -> None:
        """Hold the source, copy what is new, compare, and mark the source as moved; raise CatalogUnusable where they differ."""
        with self._copy, self._opened() as (lake, source), lake.hold() as flush:
            began = time.monotonic()
            for name in _tables(lake):
                flush(name)
            self.report.snapshot = _newest(lake)
            with self.source.freeze(source):
                with _closing(self.target.open_state()) as target:
                    self._copy_rest(source, target)
                    self._reached("copied")
                    self._compare(source, target)
                self._reached("compared")
                self.source.set_moved(self._mark(lake, "moved", self.target.place), self.report.snapshot)
            self.report.held = time.monotonic() - began
        self._reached("moved")

    def _copy_rest(self, source: State, target: State) -> None:
        copied, self.report.files = self._copy.copy_files(is_final=True)
        self.report.copied_files += copied
        self._copy.copy_bookkeeping()
        for table in HOLDINGS:
            copy_table(source.holdings, target.holdings, table)
        for table in QUEUE:
            copy_table(source.queue, target.queue, table)
        target.set_next_event(next_event_id(source.queue))
        target.write_documents(source.documents())
        self._budgets = source.budgets()  # requests to upstreams go on, and change them
        target.write_budgets(self._budgets)

    def _compare(self, source: State, target: State) -> None:
        found: dict[str, tuple[Fingerprint, Fingerprint]] = {**self._copy.compare_bookkeeping()}
        found |= self._copy.compare_lakes()
        found |= {table.name: compare_table(source.holdings, target.holdings, table) for table in HOLDINGS}
        found |= {table.name: compare_table(source.queue, target.queue, table) for table in QUEUE}
        found["documents"] = _both(source.documents(), target.documents())
        found["upstream_budgets"] = _both(self._budgets, target.budgets())
        if wrong := [name for name, (here, there) in found.items() if here != there]:
            raise CatalogUnusable(
                f"{', '.join(wrong)}: not the same in {self.target.place}; {self.source.place} stays in charge"
            )
        self.report.rows = {name: here.rows for name, (here, _) in found.items()}

    def finish(self) -> None:
        """Open the target to all. Idempotent."""
        self.target.finish()
        self._reached("finished")
        keep_private(self._target_settings)

    def _mark(self, lake: Lake, state: str, other: str) -> MigrationMark:
        found = lake.read_metadata("SELECT schema_uuid FROM {meta}ducklake_schema WHERE schema_name = 'main'")
        storage = self._settings.storage or f"file:{self._settings.storage_folder}"
        return MigrationMark("moved" if state == "moved" else "arriving", other, str(found[0][0]), storage)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Lake, State]]:
        """Open the source."""
        state: SharedState | None = open_state(self._settings)
        try:
            lake = open_lake(self._settings, state, lake_data(self._settings), room=open_room(self._settings))
            try:
                with _closing(self.source.open_state()) as rows:
                    yield lake, rows
            finally:
                lake.close()
        finally:
            if state is not None:
                state.close()


@contextmanager
def _closing(state: State) -> Iterator[State]:
    try:
        yield state
    finally:
        state.close()


def _both(here: Mapping[str, str], there: Mapping[str, str]) -> tuple[Fingerprint, Fingerprint]:
    return fingerprint_of_documents(here), fingerprint_of_documents(there)


def _tables(lake: Lake) -> list[str]:
    return [str(name) for (name,) in lake.read_metadata(_TABLES)]


def _newest(lake: Lake) -> int:
    return int(str(lake.read_metadata("SELECT max(snapshot_id) FROM {meta}ducklake_snapshot")[0][0]))


def open_end(settings: Settings, *, is_target: bool) -> End:
    """Return the end that the settings name."""
    if settings.catalog_address is None:
        return SqliteEnd(settings, is_target=is_target)
    try:
        from catalog.migration.postgresql_end import PostgresEnd
    except ImportError:
        raise CatalogUnusable(
            "a catalogue in PostgreSQL needs psycopg, which is not installed: pip install 'entrepot[postgresql]'"
        ) from None
    return PostgresEnd(settings, is_target=is_target)


def settings_of_target(settings: Settings, to: str, password_file: Path | None) -> Settings:
    """Return the settings of the same installation with its catalogue elsewhere; raise SettingsInvalid."""
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    if password_file is not None:
        try:
            given["catalog_password"] = SecretStr(password_file.expanduser().read_text().rstrip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"--password-file: {error}") from None
    return read_settings(**{**given, "catalog": to})


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Let one migration run in a home; raise CatalogBusy."""
    try:
        with FileLock(settings.root / "migration.lock", timeout=0, mode=0o600):
            yield
    except Timeout:
        raise CatalogBusy("another migration of this home is under way") from None
