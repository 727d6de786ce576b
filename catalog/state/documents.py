"""Documents: one value as JSON each, such as the access policy. It is read in memory, and written whole under a lock.

It is a private file of the home, or a row that all machines share.
"""

import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from catalog.database.engine import Transaction
from catalog.database.migration_mark import MarkFile
from catalog.settings import Settings
from catalog.state.private_file import PrivateFile, parse_document
from catalog.state.shared_state import SharedState
from oci.errors import CatalogUnavailable, CatalogUnusable

M = TypeVar("M", bound=BaseModel)


class StateDocument(Protocol[M]):
    """A process's sight of a document; usable from any thread."""

    @property
    def value(self) -> M:
        """Return the value in force; no I/O that waits, so use it on an event loop. Raises CatalogUnusable."""

    @property
    def stamp(self) -> Hashable:
        """Return a stamp that changes with the value, as of the last look at `value`."""

    def update(self, change: Callable[[M], M]) -> M:
        """Replace the value by what `change` makes of it; durable on return. If it raises, nothing changes."""

    def create(self, make: Callable[[], M]) -> bool:
        """Make the value unless there is one; return whether it was made, by one of all that try."""


class SharedDocument(Generic[M]):
    """A row in the table `documents`; `empty` stands for one that is not there.

    Changes of others are seen by notification. While the database does not answer, the value in force holds for some seconds;
    then `value` raises CatalogUnavailable.
    """

    def __init__(self, state: SharedState, name: str, empty: M) -> None:
        self._database, self._listener = state.database, state.listener
        self._name, self._empty = name, empty
        self._place = f"the document {name!r} in {state.database.place}"
        self._lock = f"document {name}"
        self._guard = threading.Lock()
        self._is_watching = False
        self._version, self._reads, self._text = 0, 0, ""
        self._value, self._error = empty, ""

    @property
    def value(self) -> M:
        if not self._is_watching:
            self._watch()
        self._listener.check()
        if self._error:
            raise CatalogUnusable(self._error)
        return self._value

    @property
    def stamp(self) -> Hashable:
        return self._version, self._reads

    def _watch(self) -> None:
        with self._guard:
            if self._is_watching:
                return
            self._take(self._database.rows("SELECT version, body FROM documents WHERE name = ?", (self._name,)))
            self._listener.watch(self._look)
            self._is_watching = True

    def _look(self, rows: "Callable[[str, tuple[object, ...]], list[tuple[object, ...]]]", is_new: bool) -> None:
        """Read the row again if it has changed; in any case after the connection was lost."""
        with self._guard:
            known = -1 if is_new else self._version
            sql = "SELECT version, CASE WHEN version = ? THEN NULL ELSE body END FROM documents WHERE name = ?"
            self._take(rows(sql, (known, self._name)))

    def _take(self, found: list[tuple[object, ...]]) -> None:
        version, text = found[0] if found else (0, "")
        if text is None or (version, text) == (self._version, self._text):
            return
        try:
            value, error = self._parse(str(text)), ""
        except CatalogUnusable as damaged:
            value, error = self._value, damaged.message
        self._value, self._error = value, error
        self._version, self._text = int(str(version)), str(text)
        self._reads += 1

    def _parse(self, text: str) -> M:
        return parse_document(type(self._empty), text.encode(), self._place) if text else self._empty

    def update(self, change: Callable[[M], M]) -> M:
        with self._database.transaction([self._lock]) as connection:
            version, text = self._read(connection)
            checked = _checked(change(self._parse(text)))
            self._write(connection, version, checked)
        self._read_back()
        return checked

    def create(self, make: Callable[[], M]) -> bool:
        with self._database.transaction([self._lock]) as connection:
            version, _ = self._read(connection)
            if version == 0:
                self._write(connection, version, _checked(make()))
        self._read_back()
        return version == 0

    def _read(self, connection: Transaction) -> tuple[int, str]:
        row = connection.execute("SELECT version, body FROM documents WHERE name = ?", (self._name,)).fetchone()
        return (int(row[0]), str(row[1])) if row else (0, "")

    def _write(self, connection: Transaction, version: int, value: M) -> None:
        """Write the next version; raise CatalogUnusable when somebody without the lock has written since `version`."""
        from catalog.database.listener import notify

        text = value.model_dump_json()
        if version == 0:
            done = connection.execute(
                "INSERT INTO documents VALUES (?, 1, ?) ON CONFLICT DO NOTHING", (self._name, text)
            )
        else:
            done = connection.execute(
                "UPDATE documents SET version = version + 1, body = ? WHERE name = ? AND version = ?",
                (text, self._name, version),
            )
        if done.rowcount != 1:
            raise CatalogUnusable(f"{self._place} was changed by somebody else meanwhile; try again")
        notify(connection)

    def _read_back(self) -> None:
        """Have what was written in force here on return: a later notification of it is too late for who wrote it."""
        with suppress(CatalogUnavailable):  # it is written, and the listener tells it
            self._look(self._database.rows, False)


def _checked(value: M) -> M:
    return type(value).model_validate(value.model_dump())


def open_document(settings: Settings, state: SharedState | None, name: str, file: Path, empty: M) -> StateDocument[M]:
    """Return a document: the file, or the row of that name where state is shared."""
    if state is not None:
        return SharedDocument(state, name, empty)
    if settings.catalog_address is not None:
        raise TypeError(f"the document {name} is shared: it needs the state of an open catalogue")
    return PrivateFile(file, empty, lock_timeout=settings.lock_timeout, allow=MarkFile(settings.catalog_file).check)
