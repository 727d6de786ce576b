"""Which statements are questions: the rules over a statement's syntax tree, as DuckDB's `json_serialize_sql` gives it.

What a question may name is listed; everything else is refused, above all the functions that read files or other databases. That
DuckDB itself is told to leave files and network alone comes on top: extensions open files without asking it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from catalog.query.package_ranges import RANGE_FUNCTIONS
from catalog.query.views import MACROS
from oci.errors import QueryInvalid

MAX_LENGTH = 100_000
"""Characters that a question may have."""

_TABLE_FUNCTIONS = MACROS | RANGE_FUNCTIONS | {
    "generate_series", "json_each", "json_tree", "range", "repeat", "snapshots", "table_changes", "table_deletions",
    "table_insertions", "unnest",
}  # fmt: skip
_REFUSED_FUNCTIONS = frozenset(
    {"current_setting", "getenv", "getvariable", "json_serialize_plan", "nextval", "currval", "write_log"}
)
_SCHEMAS = frozenset({"", "main", "lake", "questions", "information_schema"})
_CATALOGS = frozenset({"", "lake"})
_TABLE = re.compile(r"(?!duckdb_|pragma_|sqlite_|pg_|__|ducklake_)\w[\w$ -]{0,200}")
_EXPLAIN = re.compile(r"\s*explain(?:\s+analyze)?\s+(?=[^\s(])", re.IGNORECASE)
_SHOWN = frozenset({"DESCRIBE", "SUMMARY"})


def check_question(connection: duckdb.DuckDBPyConnection, sql: str) -> frozenset[str] | None:
    """Raise QueryInvalid for what is not one statement that reads the catalogue and nothing else.

    Returns the tables and table functions that it names, in lower case; None for one that asks which there are.
    """
    if len(sql) > MAX_LENGTH:
        raise QueryInvalid(f"the question has {len(sql)} characters; {MAX_LENGTH} at most")
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryInvalid(f"not valid SQL: {error}") from None
    kinds = [statement.type for statement in statements]
    if len(kinds) > 1 and kinds[0] == duckdb.StatementType.CREATE:
        raise QueryInvalid("invalid query: PIVOT needs explicit values: PIVOT … ON column IN (…)")
    if len(kinds) != 1:
        raise QueryInvalid(f"expected one statement, got {len(kinds)}")
    if kinds[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise QueryInvalid(f"invalid query {kinds[0].name}: expected SELECT, EXPLAIN or DESCRIBE")
    named = [name for node in question_nodes(connection, sql) if (name := check_node(node))]
    return None if "tables" in named else frozenset(named)


def question_nodes(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Mapping[str, Any]]:
    """Give the nodes of a statement's syntax tree, its own without EXPLAIN; raise QueryInvalid."""
    if connection.extract_statements(sql)[0].type == duckdb.StatementType.EXPLAIN:
        explain = _EXPLAIN.match(sql)  # at its beginning: a comment before it could hide the statement from the check
        sql = sql[explain.end() :] if explain else sql
    row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree["error"]:
        raise QueryInvalid(f"invalid query: expected SELECT, EXPLAIN or DESCRIBE: {tree.get('error_message', '')}")
    if len(tree["statements"]) != 1:
        raise QueryInvalid("invalid query: expected SELECT, EXPLAIN or DESCRIBE")
    return _nodes(tree)


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    waiting = [tree]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def check_node(node: Mapping[str, Any]) -> str:
    """The table or table function that a node of the tree names, if any; raise QueryInvalid when a question may not. Pure."""
    if node.get("class") == "FUNCTION" and str(node["function_name"]).lower() in _REFUSED_FUNCTIONS:
        raise QueryInvalid(f"the function {node['function_name']} is disabled in questions")
    match node.get("type"):
        case "TABLE_FUNCTION":
            name = str(node["function"]["function_name"]).lower()
            if name not in _TABLE_FUNCTIONS:
                raise QueryInvalid(f"the table function {name} is disabled in questions")
            return name
        case "BASE_TABLE":
            return _check_table(node)
        case "SHOW_REF":
            name = str(node["table_name"]).strip('"').lower()
            if node["show_type"] not in _SHOWN and name != "tables":
                raise QueryInvalid("invalid SHOW: expected SHOW TABLES or DESCRIBE")
            return _check_table({**node, "table_name": name}) if name else ""
    return ""


def _check_table(node: Mapping[str, Any]) -> str:
    database, schema, name = (str(node[part]).lower() for part in ("catalog_name", "schema_name", "table_name"))
    if database not in _CATALOGS or schema not in _SCHEMAS or not _TABLE.fullmatch(name):
        whole = ".".join(part for part in (database, schema, name) if part)
        raise QueryInvalid(f"{whole[:200]!r} is disabled in questions: they see the views and the tables of the lake")
    return "tables" if schema == "information_schema" else name
