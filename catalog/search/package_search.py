"""The look-ups of packages in the index, as SQL of SQLite: each step by an index, so that it costs what it finds.

1. Names are found, and the versions of each that any document lists. 2. Whoever asks compares these versions. 3. The documents of
those that are meant are found, with their repositories. 4. So are the tags of the images that the documents are about.

A question hands the statements to SQLite through DuckDB (catalog/query/package_ranges.py). `CROSS JOIN` keeps to the order.
"""

import json
from collections.abc import Collection, Iterable

from catalog.documents.package_names import PackageTerm

MOST_VERSIONS = 100_000
"""Versions of the packages that are meant which are compared at most."""

MOST_PLACES = 500_000
"""Packages of documents, or tags of their images, that one look-up finds at most."""

_VERSIONS = """SELECT DISTINCT names.id AS package, names.type AS type, texts.id AS version, texts.text AS text
FROM package_names names
CROSS JOIN packages ON packages.package = names.id
CROSS JOIN texts ON texts.id = packages.version
WHERE {names}{within} LIMIT {limit}"""
_BY_URL = "names.package = ?1"
_BY_NAME = """names.name IN (SELECT value FROM json_each(?1))
    AND ?2 IN (names.name, names.namespace || '/' || names.name)"""
_IS_WITHIN = "repositories.name IN (SELECT value FROM json_each({value}))"
_IS_LISTED_WITHIN = f""" AND EXISTS (SELECT 1 FROM documents
    CROSS JOIN repositories ON repositories.id = documents.repository
    WHERE documents.manifest = packages.document AND {_IS_WITHIN})"""


def _digest(column: str) -> str:
    """Return the SQL of a digest as text: bytes do not pass through DuckDB as such."""
    return f"CASE length({column}) WHEN 0 THEN '' WHEN 64 THEN 'sha512:' ELSE 'sha256:' END || lower(hex({column}))"


PLACES = f"""SELECT documents.manifest AS document, documents.repository AS place, repositories.name AS repository,
    members.since AS since, members.gone AS gone, {_digest("documents.subject")} AS image, {_digest("manifests.digest")} AS sbom,
    names.package AS package, names.type AS type, names.namespace AS namespace, names.name AS name,
    versions.text AS version, qualifiers.text AS qualifiers, licences.text AS licence
FROM json_each(?) hits
CROSS JOIN packages ON packages.package = json_extract(hits.value, '$[0]')
    AND packages.version = json_extract(hits.value, '$[1]')
CROSS JOIN documents ON documents.manifest = packages.document AND documents.state = 1
CROSS JOIN members ON members.manifest = documents.manifest AND members.repository = documents.repository
CROSS JOIN repositories ON repositories.id = documents.repository
CROSS JOIN manifests ON manifests.id = documents.manifest
CROSS JOIN package_names names ON names.id = packages.package
CROSS JOIN texts versions ON versions.id = packages.version
CROSS JOIN texts qualifiers ON qualifiers.id = packages.qualifiers
CROSS JOIN texts licences ON licences.id = packages.licence LIMIT ?"""
"""The packages of documents, by pairs of numbers of a name and a version as JSON, and a limit. `gone`: 0 where it is there."""

TAGS = f"""WITH about AS (
    SELECT DISTINCT documents.repository AS place, documents.subject AS image FROM json_each(?) found
    CROSS JOIN documents ON documents.manifest = json_extract(found.value, '$[0]')
        AND documents.repository = json_extract(found.value, '$[1]')
), reached AS (
    SELECT place, image, manifests.id AS manifest FROM about CROSS JOIN manifests ON manifests.digest = image
    UNION SELECT place, image, parent FROM about CROSS JOIN index_children ON child = image
)
SELECT repositories.name AS repository, {_digest("reached.image")} AS image, tag_names.name AS tag,
    tags.since AS since, tags.gone AS gone
FROM reached CROSS JOIN tags ON tags.manifest = reached.manifest AND tags.repository = reached.place
CROSS JOIN tag_names ON tag_names.id = tags.name
CROSS JOIN repositories ON repositories.id = reached.place LIMIT ?"""
"""The tags of images, and of the indexes that list these, by pairs of the numbers of a document and a repository, and a limit."""


def versions_query(term: PackageTerm, limit: int, within: Collection[str] | None = None) -> tuple[str, list[str | int]]:
    """Return the SQL of the versions of what is meant, with its values: numbers of name and version, type and text. Pure.

    Only documents of the repositories `within` count, all without.
    """
    parts = term.name.split("/")
    by_name = [json.dumps(["/".join(parts[start:]) for start in range(len(parts))]), term.name]
    names, values = (_BY_URL, [term.package]) if term.package else (_BY_NAME, by_name)
    found: list[str | int] = [*values, limit]
    count = len(found)
    listed = "" if within is None else _IS_LISTED_WITHIN.format(value=f"?{count + 1}")
    sql = _VERSIONS.format(names=names, within=listed, limit=f"?{count}")
    return sql, found if within is None else [*found, json.dumps(sorted(within))]


def places_query(
    pairs: Iterable[tuple[int, int]], limit: int, within: Collection[str] | None = None
) -> tuple[str, list[str | int]]:
    """Return PLACES with its values: of the documents of the repositories `within`, of all without. Pure."""
    if within is None:
        return PLACES, [pairs_value(pairs), limit]
    sql = f"{PLACES.removesuffix('?')}?2".replace(" LIMIT ", f" WHERE {_IS_WITHIN.format(value='?3')} LIMIT ")
    return sql, [pairs_value(pairs), limit, json.dumps(sorted(within))]


def pairs_value(pairs: Iterable[tuple[int, int]]) -> str:
    """Return pairs of numbers as the look-ups take them. Pure."""
    return json.dumps(sorted(pairs))
