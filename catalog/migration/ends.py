"""The two ends of a migration: what an installation keeps beside the lake, its mark, and who may write it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from filelock import FileLock, Timeout

from catalog.access.ended_sessions import ended_sessions_file
from catalog.access.store import access_file
from catalog.blobs.schema import SCHEMA as HOLDINGS_SCHEMA
from catalog.database.engine import Database
from catalog.database.migration_mark import Allow, MarkFile, MigrationMark, settle_names
from catalog.database.sqlite import SqliteDatabase
from catalog.desired_state.ledger import LEDGER, ledger_file
from catalog.lake.metadata.data import LakeData
from catalog.migration.lake_copy import LakeEnd
from catalog.migration.row_copy import Fingerprint, fingerprint_of
from catalog.policy.store import POLICIES, policies_file
from catalog.settings import Settings
from catalog.state.private_file import write_private
from catalog.webhooks.queue import QUEUE_SCHEMA, events_file
from oci.errors import CatalogBusy, CatalogUnusable


class State(Protocol):
    """What lies beside the lake: tables, and small documents by kind and name."""

    @property
    def holdings(self) -> Database:
        """Return the database of the record of held blobs."""

    @property
    def queue(self) -> Database:
        """Return the database of the queue of events."""

    def documents(self) -> dict[str, str]:
        """Return the JSON of accounts and of hooks, as they are."""

    def budgets(self) -> dict[str, str]:
        """Return the JSON of what upstreams allow."""

    def write_documents(self, found: Mapping[str, str]) -> None:
        """Make the documents these."""

    def write_budgets(self, found: Mapping[str, str]) -> None:
        """Make the budgets these."""

    def set_next_event(self, number: int) -> None:
        """Let the next event get this number at least."""

    def close(self) -> None:
        """Close what is open."""


class End(Protocol):
    """One end of a migration."""

    @property
    def place(self) -> str:
        """Return where it is, as `ENTREPOT_CATALOG` has it, without a password."""

    @property
    def lake(self) -> LakeEnd:
        """Return where its lake is, or comes to be."""

    def mark(self) -> MigrationMark | None:
        """Return its mark."""

    def check_free(self, mark: MigrationMark) -> None:
        """Raise CatalogUnusable unless a migration with this mark may write here."""

    def begin(self, mark: MigrationMark) -> None:
        """Make it the end that content arrives at."""

    def open_state(self) -> State:
        """Open what lies beside the lake."""

    def freeze(self, state: State) -> AbstractContextManager[None]:
        """Let nobody change the state. `set_moved` makes that lasting."""

    def set_moved(self, mark: MigrationMark, snapshot: int) -> None:
        """Mark it as moved, for good when `freeze` ends; the lake's lock is held.

        Raises CatalogUnusable where that lock was lost and the newest snapshot is not the one that was copied.
        """

    def finish(self) -> None:
        """Put what has arrived into its place, and open it to all; idempotent."""


def fingerprint_of_documents(found: Mapping[str, str]) -> Fingerprint:
    """Return the fingerprint of documents as values, whatever blanks their text has."""
    return fingerprint_of([(name, json.dumps(json.loads(text), sort_keys=True)) for name, text in found.items()])


@dataclass(frozen=True, slots=True)
class Files:
    """Where an installation on SQLite has its state."""

    catalog: Path
    holdings: Path
    events: Path
    documents: Mapping[str, Path]
    upstreams: Path


def files_of(settings: Settings) -> Files:
    """Return the files in use."""
    root, catalog = settings.root, settings.catalog_file
    documents = {
        "access": access_file(settings),
        "event-records": root / "event-records.json",
        "ended-sessions": ended_sessions_file(settings),
        LEDGER: ledger_file(settings),
        POLICIES: policies_file(settings),
    }
    return Files(catalog, catalog.parent / "holdings.sqlite", events_file(settings), documents, root / "upstreams")


def files_in(folder: Path) -> Files:
    """Return the same files of an installation that arrives, all in one folder."""
    documents = {
        name: folder / f"{name}.json" for name in ("access", "event-records", "ended-sessions", LEDGER, POLICIES)
    }
    return Files(
        folder / "catalog.sqlite", folder / "holdings.sqlite", folder / "events.sqlite", documents, folder / "upstreams"
    )


class FileState:
    """State in files."""

    def __init__(self, files: Files, *, busy_timeout: float, allow: Allow | None = None) -> None:
        self._files = files
        self.holdings = SqliteDatabase(files.holdings, HOLDINGS_SCHEMA, busy_timeout=busy_timeout, allow=allow)
        self.queue = SqliteDatabase(files.events, QUEUE_SCHEMA, busy_timeout=busy_timeout, allow=allow)
        for file in (files.holdings, files.events):
            file.chmod(0o600)

    def documents(self) -> dict[str, str]:
        return {name: file.read_text() for name, file in self._files.documents.items() if file.exists()}

    def budgets(self) -> dict[str, str]:
        folder = self._files.upstreams
        found = {unquote(file.stem): file.read_text().strip() for file in folder.glob("*.json")}
        return {key: text for key, text in found.items() if _is_json(text)}

    def write_documents(self, found: Mapping[str, str]) -> None:
        for name, file in self._files.documents.items():
            if name in found:
                write_private(file, json.dumps(json.loads(found[name]), indent=1) + "\n")
            else:
                file.unlink(missing_ok=True)

    def write_budgets(self, found: Mapping[str, str]) -> None:
        folder = self._files.upstreams
        folder.mkdir(exist_ok=True, mode=0o700)
        for file in folder.glob("*.json"):
            file.unlink()
        for key, text in found.items():
            write_private(folder / f"{quote(key, safe='')}.json", text)

    def set_next_event(self, number: int) -> None:
        with self.queue.transaction() as transaction:
            transaction.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
            transaction.execute("INSERT INTO sqlite_sequence VALUES ('events', ?)", (number - 1,))

    def close(self) -> None:
        self.holdings.close()
        self.queue.close()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


class SqliteEnd:
    """An installation in files. One that arrives is made in a folder beside its place, and put there at last."""

    def __init__(self, settings: Settings, *, is_target: bool) -> None:
        self._settings, self._is_target = settings, is_target
        self._file, self._mark = settings.catalog_file, MarkFile(settings.catalog_file)
        self._folder = self._file.with_suffix(".arriving")
        self._files = files_in(self._folder) if is_target else files_of(settings)

    @property
    def place(self) -> str:
        return f"sqlite:{self._file}"

    @property
    def lake(self) -> LakeEnd:
        return LakeEnd(self._files.catalog, None, LakeData(f"{self._file.parent / 'data'}/"))

    def mark(self) -> MigrationMark | None:
        return self._mark.read()

    def check_free(self, mark: MigrationMark) -> None:
        found = self.mark()
        if found is None:
            if self._file.exists():
                raise CatalogUnusable(f"{self.place} holds a catalogue already; name another file")
        elif (found.lake, found.other) != (mark.lake, mark.other):
            raise CatalogUnusable(
                f"{self.place} belongs to another catalogue, {found.state} {found.other}; name another file"
            )
        elif found.state == "arriving" and found.storage != mark.storage:
            raise CatalogUnusable(_other_storage(found, mark))

    def begin(self, mark: MigrationMark) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mark.write(mark)

    def open_state(self) -> State:
        allow = None if self._is_target else self._mark.check
        return FileState(self._files, busy_timeout=self._settings.lock_timeout, allow=allow)

    @contextmanager
    def freeze(self, state: State) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(state.holdings.transaction())
            stack.enter_context(state.queue.transaction())
            for file in self._files.documents.values():
                stack.enter_context(_held(file.with_suffix(".lock"), self._settings.lock_timeout))
            yield

    def set_moved(self, mark: MigrationMark, snapshot: int) -> None:  # noqa: ARG002  # the lock of a file is not lost
        self._mark.write(mark)

    def finish(self) -> None:
        """Put each file into its place. What was there before stays beside it, with a name of its own."""
        found = self.mark()
        if found is None or found.state != "arriving":
            return
        pairs = self._pairs()
        for new, old in pairs:
            if new.exists():
                if old.exists():
                    _set_aside(old)
                new.rename(old)
                settle_names(old.parent)
        for new, _ in pairs:
            for rest in self._folder.glob(
                f"{new.name}-*"
            ):  # of a process that was killed; all of it is in the file by now
                rest.unlink()
        if self._folder.exists():
            for rest in self._folder.iterdir():
                rest.unlink()
            self._folder.rmdir()
        self._mark.remove()

    def _pairs(self) -> list[tuple[Path, Path]]:
        new, old = self._files, files_of(self._settings)
        documents = [(file, old.documents[name]) for name, file in new.documents.items()]
        return [
            (new.holdings, old.holdings), (new.events, old.events), *documents, (new.upstreams, old.upstreams),
            (new.catalog, old.catalog),
        ]  # fmt: skip


def _set_aside(path: Path) -> None:
    """Give a file another name, with what SQLite keeps beside it."""
    number = 1
    while (aside := path.with_name(f"{path.name}.before-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    path.rename(aside)


def _other_storage(found: MigrationMark, mark: MigrationMark) -> str:
    return (
        f"the migration was begun with blobs in {found.storage}, and ENTREPOT_STORAGE is {mark.storage} now; "
        "blobs are not moved: set it as it was"
    )


@contextmanager
def _held(file: Path, timeout: float) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(file, timeout=timeout):
            yield
    except Timeout:
        raise CatalogBusy(f"another process holds {file}; try again") from None
