"""The mark of a catalogue that takes part in a migration: one that has moved, or one whose content is still arriving.

It is a file beside a SQLite catalogue, or the comment on the schema `entrepot` of a PostgreSQL database. Who writes looks at it
under the lock of the write, so that the moment at which it is set is the moment after which nothing is written.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from oci.errors import CatalogMoved, CatalogUnusable

Allow = Callable[[], None]
"""Raises CatalogMoved where nothing may be written."""


@dataclass(frozen=True, slots=True)
class MigrationMark:
    """`arriving`: from `other`, not yet to be used. `moved`: to `other`, no more to be written.

    `lake` is the identifier that the lake keeps wherever it goes. `storage` is where its blobs are.
    """

    state: Literal["arriving", "moved"]
    other: str
    lake: str
    storage: str

    def check(self, place: str) -> None:
        """Raise CatalogMoved, which says where the catalogue is."""
        if self.state == "moved":
            raise CatalogMoved(
                f"the catalogue {place} has moved to {self.other} and takes no changes; set ENTREPOT_CATALOG to the new place"
            )
        raise CatalogMoved(
            f"the catalogue {place} is still arriving from {self.other}; run `entrepot catalog migrate` again to its end"
        )

    def to_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))


def parse_mark(text: str | None, place: str) -> MigrationMark | None:
    """Read what `to_text` returned, None for nothing; raise CatalogUnusable."""
    if not text:
        return None
    try:
        return MigrationMark(**json.loads(text))
    except (ValueError, TypeError):
        raise CatalogUnusable(f"{place}: the mark of a migration cannot be read; restore it from a backup") from None


class MarkFile:
    """The mark of a SQLite catalogue."""

    def __init__(self, catalog_file: Path) -> None:
        self._catalog, self.path = str(catalog_file), catalog_file.with_suffix(".migration")
        self._name = str(self.path)

    def read(self) -> MigrationMark | None:
        """Return the mark, None where there is none; a `stat` then."""
        if not os.path.exists(self._name):  # noqa: PTH110  # before each write, and half of Path.exists's time
            return None
        try:
            return parse_mark(self.path.read_text(), self._name)
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Raise CatalogMoved where nothing may be written."""
        mark = self.read()
        if mark is not None:
            mark.check(self._catalog)

    def write(self, mark: MigrationMark) -> None:
        """Set the mark; durable on return."""
        staged = self.path.with_name(f".{self.path.name}.new")
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(mark.to_text())
            file.flush()
            os.fsync(file.fileno())
        staged.rename(self.path)
        settle_names(self.path.parent)

    def remove(self) -> None:
        """Remove the mark; durable on return."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        settle_names(self.path.parent)


def settle_names(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


MARK_SQL = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'entrepot'"
"""Asks PostgreSQL for the mark."""
