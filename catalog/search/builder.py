"""Makes the index of a whole lake: DuckDB copies the rows, so that Python, which serves meanwhile, does not touch each.

A DuckDB of its own does it, which takes memory for as long only. The file is written beside, and gets its name when it is whole.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb

from catalog.lake.duckdb_instance import load_extensions, open_duckdb
from catalog.lake.metadata.attachment import POSTGRES, SQLITE
from catalog.lake.metadata.engine import quoted
from catalog.lake.nested_values import as_nested
from catalog.lake.reading import LakePlace
from catalog.search.schema import INDEXES, KEY_DIGITS, TABLES
from oci import mediatypes
from oci.errors import CatalogUnusable

MOST_VALUE = 500
"""Characters of a label's value that are looked at."""

_GONE = "coalesce(list_min(list_filter(versions, lambda one: one > added.version)), 0)"
_LABELS = f"map_concat({as_nested('records', 'labels')}, {as_nested('records', 'annotations')})"
_CHILDREN = as_nested("records", "children")
CHILD_MANIFESTS = f"list_transform(list_filter({_CHILDREN}, lambda one: one.role = 'manifest'), lambda one: one.digest)"
"""The SQL of the digests that an index lists."""

INDEX_TYPES = f"({', '.join(repr(one) for one in sorted(mediatypes.INDEXES))})"
"""The SQL of the media types of indexes."""


def _removed(kind: str, keys: str) -> str:
    """Return the SQL of the versions in which things were taken away: few, beside what was added."""
    return f"""(SELECT repository, {keys}, list(version) AS versions FROM lake.main.records
        WHERE kind = '{kind}' AND action = 'remove' GROUP BY repository, {keys})"""


def _kept(kind: str, keys: str, columns: str, joined: str = "", order: str = "") -> str:
    """Return the SQL of what was added, with the version that took it away, 0 where it is there."""
    return f"""SELECT {columns} FROM (SELECT DISTINCT repository, {keys}, version FROM lake.main.records
        WHERE kind = '{kind}' AND action = 'add') added
    LEFT JOIN {_removed(kind, keys)} removed USING (repository, {keys})
    JOIN repos ON repos.name = repository {joined} {order}"""


_KEY = f"('0x' || digest[8:{7 + KEY_DIGITS}])::BIGINT"
_STATEMENTS = (
    """CREATE TEMP TABLE repos AS SELECT row_number() OVER (ORDER BY repository) AS id, repository AS name,
        max(version) AS version FROM lake.main.records WHERE kind = 'version' GROUP BY repository""",
    "INSERT INTO made.repositories SELECT id, name, version FROM repos ORDER BY id",
    """CREATE TEMP TABLE names AS SELECT row_number() OVER (ORDER BY tag) AS id, tag FROM (
        SELECT DISTINCT tag FROM lake.main.records WHERE kind = 'tag' AND action = 'add')""",
    "INSERT INTO made.tag_names SELECT id, tag FROM names ORDER BY id",
    """CREATE TEMP TABLE found AS SELECT row_number() OVER (ORDER BY digest) AS id, digest,
        coalesce(any_value(manifest_kind), '') AS kind
        FROM lake.main.records WHERE kind = 'manifest' AND action = 'add' GROUP BY digest""",
    "INSERT INTO made.manifests SELECT id, unhex(digest[8:]), kind FROM found ORDER BY id",
    "INSERT INTO made.members "
    + _kept(
        "manifest",
        "digest",
        f"found.id, repos.id, added.version, {_GONE}",
        "JOIN found USING (digest)",
        "ORDER BY 1, 2, 3",
    ),
    "INSERT INTO made.tags "
    + _kept(
        "tag",
        "tag, digest",
        f"names.id, repos.id, added.version, {_GONE}, found.id",
        "JOIN names USING (tag) JOIN found USING (digest)",
        "ORDER BY 1, 2, 3",
    ),
    f"""INSERT INTO made.index_children SELECT DISTINCT unhex(child[8:]), id FROM (
        SELECT found.id AS id, unnest({CHILD_MANIFESTS}) AS child FROM (
            SELECT DISTINCT ON (digest) * FROM lake.main.records
            WHERE kind = 'manifest' AND action = 'add' AND media_type IN {INDEX_TYPES}) records
        JOIN found USING (digest)) ORDER BY 1, 2""",
    "INSERT INTO made.blobs SELECT key, repository, since, min(gone) FROM ("
    + _kept(
        "blob",
        "digest",
        f"{_KEY} AS key, repos.id AS repository, added.version AS since, {_GONE} AS gone",
    )
    + ") GROUP BY key, repository, since ORDER BY 1, 2, 3",
    f"""CREATE TEMP TABLE texts AS SELECT found.id AS manifest, unnest(map_entries({_LABELS.replace("records.", "")})) AS entry
        FROM (SELECT DISTINCT ON (digest) * FROM lake.main.records WHERE kind = 'manifest' AND action = 'add') records
        JOIN found USING (digest)""",
    """CREATE TEMP TABLE keys AS SELECT row_number() OVER (ORDER BY key) AS id, key FROM (
        SELECT DISTINCT entry.key AS key FROM texts)""",
    "INSERT INTO made.label_keys SELECT id, key FROM keys ORDER BY id",
    f"""INSERT INTO made.labels SELECT keys.id, manifest, coalesce(entry.value, '')[:{MOST_VALUE}]
        FROM texts JOIN keys ON keys.key = entry.key ORDER BY 1, 2""",
    f"""INSERT INTO made.documents BY NAME SELECT DISTINCT ON (found.id, repos.id)
        found.id AS manifest, repos.id AS repository,
        CASE WHEN subject <> '' THEN unhex(subject[8:]) ELSE ''::BLOB END AS subject,
        array_to_string(list_transform(list_filter({_CHILDREN}, lambda one: one.role = 'layer'), lambda one: one.digest), ' ')
            AS layers, (subject <> '')::BIGINT AS is_resolved
        FROM lake.main.records records JOIN found USING (digest) JOIN repos ON repos.name = repository
        WHERE records.kind = 'manifest' AND action = 'add' AND manifest_kind IN ('sbom', 'attestation')""",
)
"""Each repository, tag, manifest and label gets a number, in the order of its text."""


class IndexBuild:
    """One making of the index; `stop` ends it from another thread."""

    def __init__(self, place: LakePlace, file: Path, *, memory: str) -> None:
        self._place, self._file, self._memory = place, file, memory
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._is_stopped = False

    def run(self, *, position: int, made_at: str) -> None:
        """Write the index of all that the lake has at `position` or later; raise CatalogUnusable, sqlite3.Error or OSError."""
        beside = self._file.with_suffix(".new")
        beside.unlink(missing_ok=True)
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(beside)) as connection:
                connection.executescript(TABLES)
            self._copy(beside)
            with closing(sqlite3.connect(beside)) as connection:
                connection.executescript(INDEXES)
                connection.execute("INSERT INTO state VALUES (?, ?)", [position, made_at])
                connection.commit()
            beside.replace(self._file)
        finally:
            beside.unlink(missing_ok=True)

    def stop(self) -> None:
        """Have `run` end soon."""
        self._is_stopped = True
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def _copy(self, beside: Path) -> None:
        connection = self._connection = open_duckdb(memory=self._memory, threads=1)
        place = self._place
        try:
            extensions = (*SQLITE, *POSTGRES, *place.data.extensions) if place.address else SQLITE
            load_extensions(connection, dict.fromkeys(extensions))
            place.attach(connection)
            connection.execute(f"ATTACH '{quoted(beside)}' AS made (TYPE sqlite)")
            connection.execute("BEGIN")  # one look at the lake
            for statement in _STATEMENTS:
                if self._is_stopped:
                    raise CatalogUnusable("the making of the search index was stopped")
                connection.execute(statement)
            connection.execute("COMMIT")
        except duckdb.Error as error:
            raise CatalogUnusable(f"cannot copy {place.name} into the search index: {error}") from error
        finally:
            self._connection = None
            connection.close()
