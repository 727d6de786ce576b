"""Writes what was read of a document as rows of the index: its state, and its packages by the numbers of their texts."""

import sqlite3
from collections.abc import Sequence

from catalog.documents.purls import ListedPackage
from catalog.documents.sboms import Sbom

MOST_PACKAGES = 20_000
"""Packages of a document that are kept."""

_LONGEST_NOTE = 300


def write_document(
    connection: sqlite3.Connection,
    key: tuple[int, int],
    state: int,
    *,
    now: float,
    note: str = "",
    sboms: Sequence[Sbom] = (),
) -> None:
    """Keep how a document of a repository was read, by the numbers of both, and its packages; all or nothing."""
    packages = dict.fromkeys(one for sbom in sboms for one in sbom.packages)
    kept = list(packages)[:MOST_PACKAGES]
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        writer = _PackageWriter(connection)
        connection.executemany(
            "INSERT OR IGNORE INTO packages VALUES (?, ?, ?, ?, ?)",
            [(key[0], *writer.numbers_of(one)) for one in kept],
        )
        connection.execute(
            "UPDATE documents SET state = ?, tried = ?, format = ?, packages = ?, note = ? "
            "WHERE manifest = ? AND repository = ?",
            [state, now, ", ".join(dict.fromkeys(one.format for one in sboms)), len(kept), note[:_LONGEST_NOTE], *key],
        )


class _PackageWriter:
    """Gives texts their numbers, those of one document from memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._texts: dict[str, int] = {}

    def numbers_of(self, one: ListedPackage) -> tuple[int, int, int, int]:
        """Return the numbers of a package's name, version, qualifiers and licence."""
        return self._name(one), self._text(one.version), self._text(one.qualifiers), self._text(one.licence)

    def _name(self, one: ListedPackage) -> int:
        """All of it counts: a name that is written like another's package URL is another package."""
        texts = [one.package, one.type, one.namespace, one.name]
        row = self._connection.execute(
            "SELECT id FROM package_names WHERE (package, type, namespace, name) = (?, ?, ?, ?)", texts
        ).fetchone()
        if row is None:
            row = self._connection.execute(
                "INSERT INTO package_names (package, type, namespace, name) VALUES (?, ?, ?, ?) RETURNING id",
                texts,
            ).fetchone()
        return int(row[0])

    def _text(self, text: str) -> int:
        known = self._texts.get(text)
        if known is None:
            row = self._connection.execute("SELECT id FROM texts WHERE text = ?", [text]).fetchone()
            if row is None:
                row = self._connection.execute("INSERT INTO texts (text) VALUES (?) RETURNING id", [text]).fetchone()
            known = self._texts[text] = int(row[0])
        return known
