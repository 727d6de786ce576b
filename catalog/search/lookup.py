"""Looks things up in the index, within the versions that somebody may see, and within a budget: anybody may search.

Rows that may not be seen are left out by SQLite. They spend steps of the budget, but neither its rows nor its names.
"""

import json
import sqlite3
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from catalog.search.budget import BudgetSpent, SearchBudget
from catalog.search.schema import KEY_DIGITS, content_number, digest_bytes, digest_of
from catalog.search.terms import SearchHit, SearchScope, SearchTerm
from oci.digest import Digest

_FEW = 200
"""Repositories up to which their own tags are looked through, rather than all that have a tag's name."""

MOST_PLACES = 100_000
"""Rows of places that one look-up of shared blobs reads at most."""

MOST_NAMES = 10_000
"""Names of tags or packages that one look-up goes through at most."""

_NEWEST = 2**62
_Found = TypeVar("_Found", bound=Hashable)


@dataclass(frozen=True, slots=True)
class SharedBlob:
    """The other repositories that have a blob: how many, and the first of them by name. `is_cut`: there may be more."""

    count: int = 0
    names: tuple[str, ...] = ()
    is_cut: bool = False


_SCOPES = "CREATE TEMP TABLE IF NOT EXISTS scopes (id INTEGER PRIMARY KEY, name TEXT NOT NULL, version INTEGER)"
"""What one look-up may see, by the repositories' numbers."""


def _seen(rows: str) -> str:
    """Return the join of rows with what may be seen of their repositories; its last column is `scopes.name`."""
    return (
        f"CROSS JOIN temp.scopes ON scopes.id = {rows}.repository AND CASE WHEN scopes.version IS NULL THEN {rows}.gone = 0 "
        f"ELSE {rows}.since <= scopes.version AND ({rows}.gone = 0 OR {rows}.gone > scopes.version) END"
    )


_LISTED_BY = (
    "FROM packages JOIN documents ON documents.manifest = document AND state = 1 "
    "JOIN members ON members.manifest = document AND members.repository = documents.repository " + _seen("members")
)
"""The documents that list a package, in repositories that have received them and may be seen."""


@dataclass(slots=True)
class Lookup:
    """One look at the index: the versions that may be seen, by the repositories' names.

    `is_cut`: the budget was spent, or there were too many names, before all was looked at.
    """

    connection: sqlite3.Connection
    scopes: Mapping[str, int | None]
    budget: SearchBudget = field(default_factory=SearchBudget)
    is_cut: bool = False

    @classmethod
    def within(cls, connection: sqlite3.Connection, scopes: Iterable[SearchScope]) -> "Lookup":
        """Return a look-up within some versions; the only one of its connection from now on."""
        found = {scope.repository: scope.version for scope in scopes}
        connection.execute(_SCOPES)
        connection.execute("DELETE FROM temp.scopes")
        connection.execute(
            "INSERT INTO temp.scopes SELECT repositories.id, name, value FROM json_each(?) JOIN repositories ON name = key",
            [json.dumps(found)],
        )
        return cls(connection, found)

    def find(self, term: SearchTerm, limit: int) -> list[SearchHit]:
        """Return what a term finds, but for blobs, as far as the budget goes."""
        if not (term.text or term.key):
            return []
        match term.kind:
            case "text":
                tags = sorted(
                    self._gather(self._tags(term.text), limit),
                    key=lambda hit: (hit.tag != term.text, hit.repository, hit.tag),
                )
                return [*tags, *self._gather(self._packages(term.text), limit - len(tags))]
            case "digest":
                return self._gather(self._digests(term.text), limit)
            case "label":
                return self._gather(self._labels(term.key, term.text), limit)
            case "package":
                return self._gather(self._packages(term.text), limit)

    def _gather(self, hits: Iterator[_Found], limit: int) -> list[_Found]:
        """Return the first hits; fewer, and `is_cut`, where the budget is spent before."""
        found: list[_Found] = []
        try:
            with self.budget.watching(self.connection):
                found.extend(islice(hits, limit))
        except BudgetSpent:
            self.is_cut = True
        return found

    def _rows(self, query: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        """Give a query's rows, each of which counts."""
        self.budget.count()
        with closing(self.connection.execute(query, values)) as rows:
            for row in rows:
                self.budget.count()
                yield row

    def _tags(self, text: str) -> Iterator[SearchHit]:
        """Give tags whose names hold a text: in few repositories one by one, else those that are it first, then the shortest."""
        rows = self._tags_of_scopes(text) if len(self.scopes) <= _FEW else self._tags_by_name(text)
        for tag, place, manifest in rows:
            yield SearchHit(place, "tag", tag, self._digest(manifest))

    def _tags_of_scopes(self, text: str) -> Iterator[tuple[Any, ...]]:
        """Look at the tags of what may be seen only, so that all else costs nothing; those that are the text first."""
        conditions: tuple[tuple[str, list[str]], ...] = (
            ("tag_names.name = ?", [text]),
            ("instr(lower(tag_names.name), ?) AND tag_names.name <> ?", [text.lower(), text]),
        )
        for condition, values in conditions:
            for repository in sorted(self.scopes):
                yield from self._rows(
                    "SELECT tag_names.name, scopes.name, manifest "
                    f"FROM tags JOIN tag_names ON tag_names.id = tags.name {_seen('tags')} "
                    f"WHERE repository = (SELECT id FROM repositories WHERE name = ?) AND {condition}",
                    [repository, *values],
                )

    def _tags_by_name(self, text: str) -> Iterator[tuple[Any, ...]]:
        names = self._rows(
            "SELECT id, name FROM tag_names WHERE instr(lower(name), ?) "
            f"AND EXISTS (SELECT 1 FROM tags {_seen('tags')} WHERE tags.name = tag_names.id) "
            "ORDER BY name <> ?, length(name), name LIMIT ?",
            [text.lower(), text, MOST_NAMES + 1],
        )
        for name, tag in self._first_names(names):
            for row in self._rows(
                f"SELECT scopes.name, manifest FROM tags {_seen('tags')} WHERE tags.name = ?", [name]
            ):
                yield (tag, *row)

    def _first_names(self, names: Iterable[tuple[Any, ...]]) -> Iterator[tuple[int, str]]:
        for number, (name, text) in enumerate(names):
            if number >= MOST_NAMES:
                self.is_cut = True
                return
            yield name, text

    def _digest(self, manifest: int) -> Digest:
        return digest_of(self.connection.execute("SELECT digest FROM manifests WHERE id = ?", [manifest]).fetchone()[0])

    def _digests(self, text: str) -> Iterator[SearchHit]:
        """Give manifests whose digests begin so, each after the tags that point to it."""
        low, high = _bounds(text)
        found = self._rows(
            "SELECT id, digest FROM manifests WHERE digest >= ? AND digest <= ? "
            f"AND EXISTS (SELECT 1 FROM members {_seen('members')} WHERE members.manifest = manifests.id) ORDER BY digest",
            [low, high],
        )
        for manifest, kept in found:
            digest = digest_of(kept)
            tags = self._rows(
                "SELECT tag_names.name, scopes.name FROM tags JOIN tag_names ON tag_names.id = tags.name "
                f"{_seen('tags')} WHERE manifest = ?",
                [manifest],
            )
            for tag, place in tags:
                yield SearchHit(place, "tag", tag, digest)
            places = self._rows(f"SELECT scopes.name FROM members {_seen('members')} WHERE manifest = ?", [manifest])
            for (place,) in places:
                yield SearchHit(place, "manifest", "", digest)

    def find_blobs(self, text: str, limit: int) -> set[tuple[str, int]]:
        """Return blobs whose digests begin with some digits, of which 15 count: the repositories, and the blobs' numbers."""
        digits = text[:KEY_DIGITS]
        low, high = int(digits.ljust(KEY_DIGITS, "0"), 16), int(digits.ljust(KEY_DIGITS, "f"), 16)
        rows = self._rows(f"SELECT scopes.name, key FROM blobs {_seen('blobs')} WHERE key BETWEEN ? AND ?", [low, high])
        return set(self._gather(((place, key) for place, key in rows), limit))

    def _labels(self, key: str, text: str) -> Iterator[SearchHit]:
        rows = self._rows(
            "SELECT labels.manifest, value, scopes.name FROM labels "
            f"CROSS JOIN members ON members.manifest = labels.manifest {_seen('members')} "
            "WHERE key = (SELECT id FROM label_keys WHERE name = ?) AND (? = '' OR instr(lower(value), ?))",
            [key, text, text.lower()],
        )
        for manifest, value, place in rows:
            yield SearchHit(place, "manifest", "", self._digest(manifest), value)

    def _packages(self, text: str) -> Iterator[SearchHit]:
        """Give packages whose names hold a text, those that end with it first, by the images whose documents list them."""
        names = self._rows(
            "SELECT id, package FROM package_names WHERE (instr(lower(package), ?) OR instr(lower(name), ?)) "
            f"AND EXISTS (SELECT 1 {_LISTED_BY} WHERE packages.package = package_names.id) "
            "ORDER BY substr(lower(package), -length(?)) <> lower(?), length(package), package LIMIT ?",
            [text.lower(), text.lower(), text, text, MOST_NAMES + 1],
        )
        for number, package in self._first_names(names):
            documents = self._rows(
                f"SELECT DISTINCT document, scopes.name, subject {_LISTED_BY} WHERE packages.package = ?", [number]
            )
            for document, place, subject in documents:
                digest = digest_of(subject) if subject else self._digest(document)
                yield SearchHit(place, "package", "", digest, package)

    def share(self, digests: Sequence[Digest], apart_from: str, shown: int) -> Mapping[Digest, SharedBlob]:
        """Return which other repositories have blobs; of each `shown` names."""
        found: dict[Digest, SharedBlob] = {}
        left = MOST_PLACES
        for digest in dict.fromkeys(digests):
            rows = self.connection.execute(
                f"SELECT scopes.name FROM blobs {_seen('blobs')} WHERE key = ? LIMIT ?", [content_number(digest), left]
            ).fetchall()
            left -= len(rows)
            names = sorted({place for (place,) in rows if place != apart_from})
            found[digest] = SharedBlob(len(names), tuple(names[:shown]), is_cut=left <= 0)
        return found

    def holders(self, digest: Digest, limit: int) -> dict[str, int]:
        """Return the repositories that have a manifest, each with the version that brought it."""
        rows = self.connection.execute(
            f"SELECT scopes.name, since FROM members {_seen('members')} "
            "WHERE manifest = (SELECT id FROM manifests WHERE digest = ?)",
            [digest_bytes(digest)],
        )
        found: dict[str, int] = {}
        for place, since in rows:
            if len(found) < limit:
                found[place] = min(since, found.get(place, _NEWEST))
        return found


def _bounds(text: str) -> tuple[bytes, bytes]:
    """Return the first and the last digest that begin with some hexadecimal digits. Pure."""
    even = len(text) + len(text) % 2
    return bytes.fromhex(text.ljust(even, "0")), bytes.fromhex(text.ljust(even, "f")) + b"\xff" * 64
