"""The search of one process: by the index where it is up to date, else by the lake; and what keeps the index so."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from filelock import FileLock, Timeout

from catalog.blobs.index import BlobIndex
from catalog.blobs.lake_data import lake_place
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.search.builder import IndexBuild
from catalog.search.documents import DocumentReader
from catalog.search.following import ANEW, read_changes_since, read_rows, read_snapshot, take_rows
from catalog.search.lake_search import search_content
from catalog.search.lookup import Lookup, SharedBlob
from catalog.search.older_layouts import remove_older_files
from catalog.search.schema import content_number, index_file
from catalog.search.terms import SearchHit, SearchResult, SearchScope, SearchTerm
from catalog.settings import Settings
from catalog.versions.snapshot_cache import Snapshots
from oci.digest import Digest
from oci.errors import CatalogUnusable, EntrepotError

log = logging.getLogger("catalog")
_MOST_DIGESTS = 1000
_AT_ONCE = 100
"""Repositories that a search takes over by itself; with more it asks the lake, and the rest is done beside."""

QUESTION_PATIENCE = 30.0
"""Seconds that a question about packages waits for the index, and for documents that are to be read."""

_PATIENCE = 0.2
"""Seconds that a search waits for who writes the index; then it asks the lake."""

_BLOBS = """
SELECT DISTINCT repository, digest FROM records
WHERE repository IN (SELECT unnest(string_split(?, ' '))) AND kind = 'blob' AND action = 'add' AND starts_with(digest[8:], ?)
ORDER BY repository, digest"""

_T = TypeVar("_T")


class Search:
    """Usable from any thread. `close` ends what is done beside."""

    def __init__(
        self,
        settings: Settings,
        lake: Lake,
        snapshots: Snapshots,
        documents: DocumentReader,
        blob_index: BlobIndex,
    ) -> None:
        self._blob_index = blob_index
        self._settings, self._lake, self._snapshots, self._documents = settings, lake, snapshots, documents
        self.file = index_file(settings.catalog_file)
        self._guard, self._refreshing = threading.Lock(), threading.Lock()
        self._local = threading.local()
        self._known: dict[str, int] | None = None
        self._seen_changes, self._seen_drops = -1, -1
        self._known_file = 0
        self._beside: threading.Thread | None = None
        self._build: IndexBuild | None = None
        self._is_closed = False

    def find(self, term: SearchTerm, within: Iterable[SearchScope], *, limit: int) -> SearchResult:
        """Return what a term finds in some versions; one query of the lake at most where the index is up to date or is
        made so."""
        scopes = list(within)

        def look(lookup: Lookup) -> SearchResult:
            return SearchResult(lookup.find(term, limit), is_cut=lookup.is_cut)

        found = self._look(look, scopes)
        if found is None:
            return SearchResult(search_content(self._lake, term, scopes, limit=limit), has_packages=False)
        if term.kind == "digest" and len(found.hits) < limit:
            blobs = self._find_blobs(term.text, scopes, limit - len(found.hits))
            return SearchResult([*found.hits, *blobs.hits], is_cut=found.is_cut or blobs.is_cut)
        return found

    def _find_blobs(self, text: str, scopes: Sequence[SearchScope], limit: int) -> SearchResult:
        def look(lookup: Lookup) -> tuple[set[tuple[str, int]], bool]:
            return lookup.find_blobs(text, limit), lookup.is_cut

        seen, is_cut = self._look(look, scopes) or (set(), False)
        if not seen:
            return SearchResult([], is_cut=is_cut)
        numbers = {number for _, number in seen}
        digests = {content_number(one): Digest(one) for one in self._blob_index.find_beginning(text, _MOST_DIGESTS)}
        if numbers <= digests.keys():
            hits = [SearchHit(name, "blob", "", digests[number]) for name, number in seen]
            return SearchResult(sorted(hits, key=lambda hit: (hit.repository, hit.digest))[:limit], is_cut=is_cut)
        rows = self._lake.read(_BLOBS, [listed({name for name, _ in seen}), text])  # some are left upstream
        hits = [SearchHit(str(name), "blob", "", Digest(str(digest))) for name, digest in rows]
        known = [hit for hit in hits if (hit.repository, content_number(hit.digest)) in seen]
        return SearchResult(known[:limit], is_cut=is_cut)

    def share(
        self, digests: Sequence[Digest], within: Iterable[SearchScope], *, apart_from: str, shown: int
    ) -> Mapping[Digest, SharedBlob] | None:
        """Return which other repositories have blobs; None while the index is not up to date."""
        return self._look(lambda lookup: lookup.share(digests, apart_from, shown), within)

    def holders(self, digest: Digest, within: Iterable[SearchScope], *, limit: int) -> Mapping[str, int] | None:
        """Return the repositories that have a manifest, with the version that brought it; None as above."""
        return self._look(lambda lookup: lookup.holders(digest, limit), within)

    def _look(self, ask: Callable[[Lookup], _T], within: Iterable[SearchScope]) -> _T | None:
        """Ask the index once it is up to date; None where it is not, and then have it made so beside."""
        try:
            if self._is_current():
                connection = self._connection()
                if self._documents.has_waiting(connection):
                    self._begin_refresh()
                return ask(Lookup.within(connection, within))
        except (sqlite3.Error, OSError) as error:
            log.warning("the search index cannot be read file=%s error=%s", self.file, error)
            self._give_up(is_broken=type(error) is sqlite3.DatabaseError)
        self._begin_refresh()
        return None

    def _give_up(self, *, is_broken: bool) -> None:
        """Leave the index until the next refresh, which makes another one of a file that is broken."""
        with self._guard:
            self._known = None
        if is_broken:
            self._remove_file()

    def _file_number(self) -> int:
        """Return another number when another process has put a new file there; 0 for none."""
        try:
            return self.file.stat().st_ino
        except FileNotFoundError:
            return 0

    def _is_current(self) -> bool:
        """Return whether the index has all that memory knows, after taking over what a few repositories lack."""
        with self._guard:
            if self._known is None or self._known_file != self._file_number():
                return False
            if self._seen_drops != self._snapshots.drops:
                return False
            changes = self._snapshots.changes
            if self._seen_changes != changes:
                latest = self._snapshots.numbers()
                known = self._known
                behind = {name: known.get(name, 0) for name, number in latest.items() if known.get(name) != number}
                if len(behind) > _AT_ONCE:
                    return False
                if behind:
                    self._take(behind)
                    known.update({name: latest[name] for name in behind})
                self._seen_changes = changes
            return True

    def _take(self, after: Mapping[str, int]) -> None:
        rows = read_rows(self._lake, after)
        with closing(self._open(patience=_PATIENCE)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            take_rows(connection, after, rows)

    def _open(self, *, patience: float = 30.0) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.file))}?mode=rw", uri=True, timeout=patience, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection to the file that is there now."""
        number = self._file_number()
        if getattr(self._local, "number", None) != number:
            self._local.connection = self._open()
            self._local.number = number
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _begin_refresh(self) -> None:
        with self._guard:
            if self._is_closed or (self._beside is not None and self._beside.is_alive()):
                return
            self._beside = threading.Thread(target=self._refresh_beside, name="search index", daemon=True)
            self._beside.start()

    def _refresh_beside(self) -> None:
        try:
            self.refresh()
        except (EntrepotError, OSError, sqlite3.Error) as error:
            if not self._is_closed:
                log.warning("the search index could not be brought up to date error=%s", error)

    def refresh(self, *, patience: float | None = None) -> bool:
        """Bring the index up to the lake, then read documents that it has not read; return whether that was finished.

        Another thread or process may be doing it. With `patience`, wait so many seconds for that, and read for no longer.
        """
        until = time.monotonic() + (patience or 0)

        def is_over() -> bool:
            return self._is_closed or (patience is not None and time.monotonic() > until)

        if not self._refreshing.acquire(timeout=-1 if patience is None else patience):
            return False
        try:
            left = max(until - time.monotonic(), 0.0)
            lock = FileLock(self.file.with_suffix(".lock"), timeout=left, mode=0o600)
            with suppress(Timeout), lock:
                drops = self._snapshots.drops  # before what is read, so that what comes meanwhile is noticed
                self._bring_up()
                if self._is_closed:
                    return False
                self._learn(drops)
                remove_older_files(self.file, time.time())
                with closing(self._open()) as connection:
                    self._documents.read_new(connection, is_over)
                    return not is_over()
            return False
        finally:
            self._refreshing.release()

    def prepare(self) -> bool:
        """Bring the index up for a question about packages, as far as QUESTION_PATIENCE goes; return whether all was read.

        Raise CatalogUnusable where there is none then.
        """
        try:
            is_whole = self.refresh(patience=QUESTION_PATIENCE)
        except (OSError, sqlite3.Error) as error:
            raise CatalogUnusable(f"the search index cannot be brought up to date: {error}") from error
        if not self.file.exists():
            raise CatalogUnusable("the search index, which has the packages of SBOMs, is being made; try again")
        return is_whole

    def _bring_up(self) -> None:
        state = self._read_state()
        changed = read_changes_since(self._lake, *state) if state is not None else None
        if changed is None:
            position, made_at = read_snapshot(self._lake)
            self._remove_file()
            self._build = IndexBuild(lake_place(self._settings), self.file, memory=self._settings.query_memory)
            if not self._is_closed:
                self._build.run(position=position, made_at=made_at)
            return
        with closing(self._open()) as connection:
            known = dict(connection.execute("SELECT name, version FROM repositories"))
            after = {name: known.get(name, 0) for name in changed.grown} | dict.fromkeys(changed.shrunk, ANEW)
            for some in _parts(sorted(after)):
                part = {name: after[name] for name in some}
                rows = read_rows(self._lake, part)
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    take_rows(connection, part, rows)
            with connection:
                connection.execute("UPDATE state SET position = ?, made_at = ?", [changed.position, changed.made_at])

    def _remove_file(self) -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"{self.file}{end}").unlink(missing_ok=True)

    def _read_state(self) -> tuple[int, str] | None:
        if not self.file.exists():
            return None
        with suppress(sqlite3.Error), closing(self._open()) as connection:
            row = connection.execute("SELECT position, made_at FROM state").fetchone()
            return None if row is None else (int(row[0]), str(row[1]))
        return None

    def _learn(self, drops: int) -> None:
        """Know which versions the index has, as of when memory had seen so many drops."""
        number = self._file_number()
        with closing(self._open()) as connection:
            known = dict(connection.execute("SELECT name, version FROM repositories"))
        with self._guard:
            self._known, self._known_file, self._seen_drops, self._seen_changes = known, number, drops, -1

    def close(self) -> None:
        """End what is done beside."""
        self._is_closed = True
        if self._build is not None:
            self._build.stop()
        if self._beside is not None:
            self._beside.join()


def _parts(names: Sequence[str]) -> Iterable[Collection[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))
