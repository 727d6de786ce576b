"""The table functions `packages_in(NAME, RANGE)` and `served_packages_in(NAME, RANGE)`: packages whose versions are in a range.

SQL does not know the order of versions. So what a question calls them with is read from its syntax tree, and the versions of the
packages that are meant are compared once. What the search index has of those in the range, and of the tags of their images, is
copied into tables that the functions read: neither the index nor the lake is read as a whole.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

import duckdb

from catalog.documents.package_names import parse_package_term
from catalog.documents.version_order import is_in_range, parse_version_range
from catalog.search.package_search import MOST_PLACES, MOST_VERSIONS, TAGS, pairs_value, places_query, versions_query
from oci.errors import InvalidInput, QueryInvalid

RANGE_FUNCTIONS = frozenset({"packages_in", "served_packages_in"})
"""Their names."""

FOUND = "memory.main.found_packages"
"""The table of the packages that were found, by what the function was called with."""

FOUND_TAGS = "memory.main.found_tags"
"""The table of the tags that lead to the images that were found."""

CREATE_FOUND = (
    f"""CREATE OR REPLACE TABLE {FOUND} (of_name VARCHAR, of_range VARCHAR, document BIGINT, place BIGINT, repository VARCHAR,
    since BIGINT, gone BIGINT, image VARCHAR, sbom VARCHAR, package VARCHAR, type VARCHAR, namespace VARCHAR, name VARCHAR,
    version VARCHAR, qualifiers VARCHAR, licence VARCHAR)""",
    f"CREATE OR REPLACE TABLE {FOUND_TAGS} (repository VARCHAR, image VARCHAR, tag VARCHAR, since BIGINT, gone BIGINT)",
)
_ASK = "sqlite_query('search', $sql, params = row({values}))"


class RangeCall(NamedTuple):
    """What one of the functions is called with."""

    name: str
    range: str


def find_calls(nodes: Iterable[Mapping[str, Any]], parameters: Mapping[str, object]) -> frozenset[RangeCall]:
    """Return the calls in a statement's syntax tree; raise QueryInvalid for arguments that are not known beforehand. Pure."""
    return frozenset(
        RangeCall(*_arguments(node["function"], parameters))
        for node in nodes
        if node.get("type") == "TABLE_FUNCTION" and str(node["function"]["function_name"]).lower() in RANGE_FUNCTIONS
    )


def _arguments(function: Mapping[str, Any], parameters: Mapping[str, object]) -> list[str]:
    found = [_value(child, parameters) for child in function["children"]]
    texts = [one for one in found if isinstance(one, str)]
    if len(found) != 2 or len(texts) != 2 or any(child["alias"] for child in function["children"]):
        name = str(function["function_name"]).lower()
        raise QueryInvalid(f"invalid arguments of {name}: expected two texts or parameters, ('openssl', '<3.0.12')")
    return texts


def _value(child: Mapping[str, Any], parameters: Mapping[str, object]) -> object:
    if child["class"] == "CONSTANT":
        return child["value"].get("value")
    return parameters.get(str(child.get("identifier"))) if child["class"] == "PARAMETER" else None


def fill_found(
    connection: duckdb.DuckDBPyConnection, calls: Iterable[RangeCall], within: Collection[str] | None = None
) -> None:
    """Copy what the index has of some calls' packages, and of the tags of their images.

    Only the repositories `within` are looked at, all without: what others have counts for no limit. Raise QueryInvalid for a name
    or range that is none, and where too much is meant.
    """
    wanted = sorted(calls)
    if not wanted:  # then there are no tables for them
        return
    for call in wanted:
        if inside := _versions_in_range(connection, call, within):
            _ask(
                connection,
                f"""INSERT INTO {FOUND} SELECT $name, $range, document, place, repository, since, gone, image, sbom, package,
                    type, namespace, name, version, qualifiers, licence FROM {{asked}}""",
                *places_query(inside, MOST_PLACES + 1, within),
                more={"name": call.name, "range": call.range},
            )
            _check_count(connection, FOUND, f"packages named {call.name}")
    rows = connection.execute(f"SELECT DISTINCT document, place FROM {FOUND} WHERE image <> ''").fetchall()
    if rows:
        _ask(
            connection,
            f"INSERT INTO {FOUND_TAGS} SELECT repository, image, tag, since, gone FROM {{asked}}",
            TAGS,
            [pairs_value((int(document), int(place)) for document, place in rows), MOST_PLACES + 1],
        )
        _check_count(connection, FOUND_TAGS, "tags of images with these packages")


def _versions_in_range(
    connection: duckdb.DuckDBPyConnection, call: RangeCall, within: Collection[str] | None
) -> list[tuple[int, int]]:
    """Return the numbers of names and versions that a call means."""
    try:
        term, wanted = parse_package_term(call.name), parse_version_range(call.range)
        if term.version and not call.range.strip():
            wanted = parse_version_range(term.version)
    except InvalidInput as error:
        raise QueryInvalid(error.message) from None
    sql, values = versions_query(term, MOST_VERSIONS + 1, within)
    rows = _ask(connection, "SELECT package, type, version, text FROM {asked}", sql, values).fetchall()
    if len(rows) > MOST_VERSIONS:
        raise QueryInvalid(f"more than {MOST_VERSIONS} versions of {term.name or term.package}; give its package URL")
    return [(int(package), int(version)) for package, type_, version, text in rows if is_in_range(type_, text, wanted)]


def _ask(
    connection: duckdb.DuckDBPyConnection,
    outer: str,
    sql: str,
    values: list[str | int],
    more: Mapping[str, object] | None = None,
) -> duckdb.DuckDBPyConnection:
    """Ask the search index itself, by its own indexes; `outer` reads what comes from `{asked}`."""
    names = ", ".join(f"$p{number}{'' if isinstance(one, str) else '::BIGINT'}" for number, one in enumerate(values))
    parameters = {f"p{number}": one for number, one in enumerate(values)}
    return connection.execute(
        outer.replace("{asked}", _ASK.format(values=names)), {"sql": sql, **parameters, **(more or {})}
    )


def _check_count(connection: duckdb.DuckDBPyConnection, table: str, what: str) -> None:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    if row is not None and row[0] > MOST_PLACES:
        raise QueryInvalid(f"more than {MOST_PLACES} {what}; give a package URL, or narrow the range")
