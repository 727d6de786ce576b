"""Reads documents that list packages, each once, so that packages are found by name and version.

A document counts for the repositories that have received it. One whose bytes a repository may not use is not read there: that
another repository holds the same bytes gives no right to them. Bytes that are not here yet are looked for again later.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Sequence

from catalog.blobs.content_store import ContentStore
from catalog.documents.reading import load_json
from catalog.documents.sboms import Sbom, read_sbom
from catalog.search.document_rows import MOST_PACKAGES, write_document
from catalog.search.document_subjects import ReadManifest, resolve_subjects
from catalog.search.schema import ABSENT, INVALID, READ
from catalog.versions.snapshot import Snapshot
from catalog.versions.snapshot_cache import Snapshots
from oci.digest import Digest
from oci.errors import EntrepotError

log = logging.getLogger("catalog")
LARGEST = 16 * 1024 * 1024
"""No larger document is read."""

RETRY_AFTER = 60.0
"""Seconds after which documents are looked for again whose bytes were not here."""

MOST_RETRIED = 500
"""Documents that are looked for again at a time, those first that have waited longest."""

_LAYERS, _AT_ONCE = 16, 50
_WAITING = """SELECT documents.manifest, documents.repository, repositories.name, layers,
    (SELECT CASE WHEN min(gone) = 0 THEN 0 ELSE max(gone) END FROM members
        WHERE members.manifest = documents.manifest AND members.repository = documents.repository),
    (SELECT kind FROM manifests WHERE id = documents.manifest)
FROM documents JOIN repositories ON repositories.id = documents.repository"""
_UNREAD = f"{_WAITING} WHERE state = 0 LIMIT ?"
_RETRIED = f"{_WAITING} WHERE state = 2 AND tried <= ? ORDER BY tried LIMIT ?"
_OF_VALUES = (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
"""Errors of SQLite that values lead to; any other is the index's own."""


class DocumentReader:
    """Reads documents of any repository; who may see what is in them is for others to say.

    `usable_size` returns the bytes of a blob that a version's repository may use, None for any other.
    """

    def __init__(
        self,
        content: ContentStore,
        snapshots: Snapshots,
        usable_size: Callable[[Snapshot, Digest], int | None],
        read_manifest: ReadManifest,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._content, self._snapshots, self._usable_size = content, snapshots, usable_size
        self._read_manifest, self._clock = read_manifest, clock

    def read_new(self, connection: sqlite3.Connection, is_over: Callable[[], bool]) -> int:
        """Read the documents that were not read yet, some at a time, and look for some that were not here; return how many."""
        resolve_subjects(connection, self._snapshots, self._read_manifest, is_over)
        count = 0
        while not is_over() and (rows := connection.execute(_UNREAD, [_AT_ONCE]).fetchall()):
            count += self._read_rows(connection, rows, is_over)
        rows = connection.execute(_RETRIED, [self._clock() - RETRY_AFTER, MOST_RETRIED]).fetchall()
        return count + self._read_rows(connection, rows, is_over)

    def has_waiting(self, connection: sqlite3.Connection) -> bool:
        """Return whether documents are to be read, or looked for again that were not here some time ago."""
        row = connection.execute(
            "SELECT EXISTS (SELECT 1 FROM documents WHERE state = 0) OR "
            "EXISTS (SELECT 1 FROM documents WHERE is_resolved = 0) OR "
            "EXISTS (SELECT 1 FROM documents WHERE state = 2 AND tried <= ?)",
            [self._clock() - RETRY_AFTER],
        ).fetchone()
        return bool(row[0])

    def _read_rows(
        self, connection: sqlite3.Connection, rows: Sequence[Sequence[object]], is_over: Callable[[], bool]
    ) -> int:
        for number, (manifest, repository, name, layers, gone, kind) in enumerate(rows):
            if is_over():
                return number
            key = int(str(manifest)), int(str(repository))
            wanted = [Digest(text) for text in str(layers).split()][:_LAYERS]
            try:
                is_usable = gone is not None and bool(wanted) and self._may_read(str(name), int(str(gone)), wanted)
                if not is_usable:
                    write_document(connection, key, ABSENT, now=self._clock(), note="its content is not here")
                elif not self._copy(connection, key):
                    self._take(connection, key, wanted, is_sbom=kind == "sbom")
            except EntrepotError as error:
                log.warning("a document cannot be read yet repository=%s error=%s", name, type(error).__name__)
                write_document(connection, key, ABSENT, now=self._clock(), note="its content could not be read")
            except Exception as error:  # one document, whatever is in it, keeps no other from being read
                if isinstance(error, sqlite3.Error) and not isinstance(error, _OF_VALUES):
                    raise
                log.warning("a document is not searched repository=%s error=%s", name, type(error).__name__)
                write_document(connection, key, INVALID, now=self._clock(), note="its content cannot be kept")
        return len(rows)

    def _may_read(self, name: str, gone: int, wanted: Sequence[Digest]) -> bool:
        """Return whether a repository may use all layers, in its latest version, or in the last before the document went."""
        snapshot = self._snapshots.get(name, gone - 1 if gone else None)
        return all(self._usable_size(snapshot, layer) is not None for layer in wanted)

    def _copy(self, connection: sqlite3.Connection, key: tuple[int, int]) -> bool:
        """Take over what was read for another repository; return whether something was."""
        with connection:
            row = connection.execute(
                "SELECT state, format, packages, note FROM documents WHERE manifest = ? AND state IN (1, 3) LIMIT 1",
                [key[0]],
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE documents SET state = ?, format = ?, packages = ?, note = ? WHERE manifest = ? AND repository = ?",
                    [*row, *key],
                )
            return row is not None

    def _take(
        self, connection: sqlite3.Connection, key: tuple[int, int], wanted: Sequence[Digest], *, is_sbom: bool
    ) -> None:
        """Read a document's layers, and keep their packages; `is_sbom`: it says of itself that it is one."""
        found, notes = list[Sbom](), list[str]()
        for layer in wanted:
            sbom, note = self._read_layer(layer, is_sbom=is_sbom)
            found += [sbom] if sbom else []
            notes += [note] if note else []
        state = READ if found or not notes else INVALID
        note = "; ".join(dict.fromkeys(notes))
        write_document(connection, key, state, now=self._clock(), note=note, sboms=found)

    def _read_layer(self, layer: Digest, *, is_sbom: bool) -> tuple[Sbom | None, str]:
        size = self._content.size(layer)
        if size is not None and size > LARGEST:
            return None, f"larger than {LARGEST // 2**20} MiB"
        document = load_json(self._content.read(layer))
        if document is None:
            return None, "no JSON, or nested too deep"
        sbom = read_sbom(document, MOST_PACKAGES)
        if sbom is None:
            return None, "an unknown format" if is_sbom else ""
        return sbom, f"only the first {MOST_PACKAGES} packages, texts cut" if sbom.is_cut else ""
