"""The views of SBOMs and their packages, as text: over the search index, which is attached as `search`.

The index has the version that brought a document to a repository, and the one that took it away. So these views see what any
version of it has: the latest, those of a moment, or those that distributions serve.
"""

from catalog.lake.nested_values import MAX_NUMBER
from catalog.query.package_ranges import FOUND, FOUND_TAGS, RANGE_FUNCTIONS

NEEDS_INDEX = frozenset({"packages", "sboms", "served_packages"}) | RANGE_FUNCTIONS
"""Views and table functions that read the search index."""

LATEST = f"(SELECT name AS repository, {MAX_NUMBER} AS upto FROM search.repositories)"
"""The SQL of each repository's version that counts: the latest."""

_SERVED = f"""(SELECT path, repository, coalesce(version, {MAX_NUMBER}) AS upto FROM lake.main.distributions
    WHERE coalesce(remote, '') = '')"""
_STATES = "CASE state WHEN 0 THEN 'unread' WHEN 1 THEN 'read' WHEN 2 THEN 'absent' ELSE 'invalid' END"


def _digest(column: str) -> str:
    return f"""CASE octet_length({column}) WHEN 0 THEN '' WHEN 64 THEN 'sha512:' ELSE 'sha256:' END || lower(hex({column}))"""


def _documents(within: str, columns: str = "") -> str:
    """The SQL of documents that versions have: their numbers, and what is known of each."""
    return f"""SELECT {columns}within.repository AS repository, documents.manifest AS document, documents.state AS state,
        format, packages, note, manifests.kind AS kind, since AS version, {_digest("documents.subject")} AS image,
        {_digest("manifests.digest")} AS sbom
    FROM {within} within JOIN search.repositories ON repositories.name = within.repository
    JOIN search.documents ON documents.repository = repositories.id
    JOIN search.members ON members.manifest = documents.manifest AND members.repository = documents.repository
    JOIN search.manifests ON manifests.id = documents.manifest
    WHERE since <= upto AND (gone = 0 OR gone > upto)"""


_PURL = """CASE WHEN type = '' THEN '' ELSE package || CASE version WHEN '' THEN ''
        ELSE '@' || replace(replace(url_encode(version), '%3A', ':'), '%2B', '+') END
        || CASE qualifiers WHEN '' THEN '' ELSE '?' || qualifiers END END"""


def _packages_in(within: str, columns: str = "") -> str:
    """The SQL of the packages that a call has found, in versions that have them."""
    return f"""SELECT {columns}found.repository AS repository, image, sbom, {_PURL} AS purl, package, type, namespace, name,
        version, qualifiers, licence
    FROM {FOUND} found JOIN {within} within ON within.repository = found.repository
    WHERE of_name = at_name AND of_range = at_range AND since <= upto AND (gone = 0 OR gone > upto)"""


_TAGS = f"""SELECT path, image, list(DISTINCT tag ORDER BY tag) AS tags
    FROM {FOUND_TAGS} found_tags JOIN {_SERVED} served ON served.repository = found_tags.repository
    WHERE since <= upto AND (gone = 0 OR gone > upto) GROUP BY path, image"""
_NO_TAGS = "[]::VARCHAR[]"


def _packages(within: str, columns: str = "") -> str:
    return f"""SELECT {columns}repository, image, sbom, {_PURL} AS purl, package, type, namespace, name, version, qualifiers,
        licence
    FROM (SELECT {columns}repository, image, sbom, package_names.package AS package, type, namespace, name,
            versions.text AS version, qualifiers.text AS qualifiers, licences.text AS licence
        FROM ({_documents(within, columns)}) found
        JOIN search.packages ON packages.document = found.document
        JOIN search.package_names ON package_names.id = packages.package
        JOIN search.texts versions ON versions.id = packages.version
        JOIN search.texts qualifiers ON qualifiers.id = packages.qualifiers
        JOIN search.texts licences ON licences.id = packages.licence
        WHERE state = 1)"""


def package_views(within: str, *, has_index: bool) -> dict[str, str]:
    """Return the SQL of the views, by name; `within` is that of the version of each repository that counts. Pure.

    Without an index they are empty: a question that names one needs it (catalog/query/process.py).
    """
    views = {
        "packages": _packages(within),
        "sboms": f"""SELECT repository, image, sbom, {_STATES} AS state, format, packages, note, version
    FROM ({_documents(within)}) WHERE kind = 'sbom' OR state <> 1 OR format <> ''""",
        "served_packages": _packages(_SERVED, "path, "),
    }
    return views if has_index else {name: _EMPTY[name] for name in views}


def range_macros(within: str, *, has_index: bool) -> dict[str, str]:
    """Return the SQL of the table functions, by name. Pure."""
    macros = {
        "packages_in": _packages_in(within),
        "served_packages_in": f"""SELECT inside.*, coalesce(tags, {_NO_TAGS}) AS tags
    FROM ({_packages_in(_SERVED, "path, ")}) inside LEFT JOIN ({_TAGS}) tagged USING (path, image)""",
    }
    return macros if has_index else {name: _EMPTY[name] for name in macros}


_NO_PACKAGES = (
    "SELECT '' AS repository, '' AS image, '' AS sbom, '' AS purl, '' AS package, '' AS type, '' AS namespace, '' AS name, "
    "'' AS version, '' AS qualifiers, '' AS licence WHERE false"
)
_EMPTY = {
    "packages": _NO_PACKAGES,
    "sboms": "SELECT '' AS repository, '' AS image, '' AS sbom, '' AS state, '' AS format, 0::BIGINT AS packages, '' AS note, "
    "0::BIGINT AS version WHERE false",
    "served_packages": f"SELECT '' AS path, * FROM ({_NO_PACKAGES})",
    "packages_in": _NO_PACKAGES,
    "served_packages_in": f"SELECT '' AS path, *, {_NO_TAGS} AS tags FROM ({_NO_PACKAGES})",
}
