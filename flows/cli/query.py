"""`entrepot query`: questions to the catalogue in SQL."""

from typing import Annotated

import typer

from flows.cli.opening import opened
from flows.cli.options import Home, Json
from flows.cli.output import print_json, print_table


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One reading statement (SELECT, DESCRIBE, EXPLAIN).")],
    *,
    max_rows: Annotated[int, typer.Option(help="Refuse an answer of more rows.", min=1)] = 100_000,
    timeout: Annotated[float, typer.Option(help="Seconds after which the question is stopped.", min=0.1)] = 60.0,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask the catalogue in SQL, reading only. Its tables: repositories, versions, changes, manifests, descriptors, …"""
    with opened(home) as catalog:
        table = catalog.query(sql, max_rows=max_rows, timeout=timeout)
    if as_json:
        print_json(table.to_pylist())
        return
    rows = [[None if value is None else str(value) for value in row.values()] for row in table.to_pylist()]
    print_table(table.column_names, rows)
