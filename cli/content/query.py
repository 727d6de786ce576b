"""`entrepot query`: questions to the catalogue in SQL."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from cli.catalog import opened, settings_of
from cli.options import Home, Json
from cli.output import print_json, print_line, print_table, say
from oci.errors import CatalogOutdated, InvalidInput, LocalError

if TYPE_CHECKING:
    import pyarrow as pa

    from catalog.query.question import Question, Value

Shown = Literal["table", "json", "ndjson", "csv", "parquet", "arrow"]
ShownOption = Annotated[
    Shown | None,
    typer.Option("--format", help="Format of the result. Default: by the suffix of --output, else a table."),
]
OutputOption = Annotated[
    Path | None, typer.Option("--output", metavar="FILE", help="Write the answer to a file, whole or not at all.")
]
_BINARY = ("parquet", "arrow")
_ENDINGS: Mapping[str, Shown] = {
    ".json": "json", ".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow",
}  # fmt: skip


def query(
    sql: Annotated[
        str, typer.Argument(metavar="[SQL]", help="One reading statement (SELECT, DESCRIBE, EXPLAIN); - reads it.")
    ] = "",
    *,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read the statement from a file.")] = None,
    named: Annotated[
        str, typer.Option("--named", metavar="NAME", help="Run a query that comes with Entrepôt; --list shows them.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="The value of $NAME in the statement; may be repeated."),
    ] = None,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="As of a time, in UTC unless it says: 2026-01-31T12:00Z.")
    ] = "",
    version: Annotated[
        str,
        typer.Option("--version", metavar="NAME@NUMBER", help="As of one version of one repository, and of it alone."),
    ] = "",
    shown: ShownOption = None,
    output: OutputOption = None,
    max_rows: Annotated[
        int | None, typer.Option(help="Refuse an answer of more rows; default: ENTREPOT_QUERY_MAX_ROWS.", min=1)
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Time after which it is stopped: 90s; default: ENTREPOT_QUERY_TIMEOUT."),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the questions that come with Entrepôt.")] = False,
    show_views: Annotated[
        bool, typer.Option("--show-views", help="Print the SQL of the views, for another DuckLake client.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Query the catalogue in read-only SQL.

    Its views (tags, versions, images and so on) are described in docs/sql.md.

    Example: entrepot query 'SELECT * FROM tags LIMIT 10'
    """
    from catalog.query.question import parse_as_of

    as_of = parse_as_of(moment=at, version=version)
    if list_:
        _list_questions(as_json=as_json)
    elif show_views:
        from catalog.blobs.lake_data import lake_place
        from catalog.query.views import view_statements

        place = lake_place(settings_of(home))
        print_line(";\n".join(view_statements(as_of, blob_schema=place.blob_schema)) + ";")
    else:
        form = choose_form("json" if as_json else shown, output, is_terminal=sys.stdout.isatty())
        question = replace(_read_question(sql, file, named, settings or []), as_of=as_of)
        answer_question(home, question, form, output, max_rows, timeout)


def choose_form(shown: Shown | None, output: Path | None, *, is_terminal: bool) -> Shown:
    """Return the format of an answer; raise InvalidInput for none, or one that cannot be written. Pure."""
    if output is None:
        if shown in _BINARY and is_terminal:
            raise InvalidInput(f"{shown} is no text for a terminal; name a file by --output, or pipe it")
        return shown or "table"
    found = shown or _ENDINGS.get(output.suffix.lower())
    if found is None or found == "table":
        raise InvalidInput(f"invalid output {output}: expected --format json, ndjson, csv, parquet or arrow")
    return found


def answer_question(
    home: Path | None,
    question: "Question",
    form: Shown,
    output: Path | None,
    max_rows: int | None,
    timeout: str | None,
) -> None:
    """Ask, and print the answer or write it; raise QueryInvalid, CatalogUnusable or LocalError."""
    from catalog.query.run import Asking, limits_of
    from catalog.units import parse_duration

    settings = settings_of(home)
    if not settings.has_catalog:
        _open_once(home)
    limits = limits_of(settings).changed(
        rows=max_rows, timeout=None if timeout is None else parse_duration(timeout).total_seconds()
    )
    for last in (False, True):
        try:
            if form == "table":
                from catalog.query.tables import ask_table  # it loads Arrow, which only a table needs

                _print_answer(ask_table(settings, question, limits, prepare=lambda: _bring_up_index(home)))
            else:
                asking = Asking(settings, question, limits, form, prepare=lambda: _bring_up_index(home))
                with asking, asking.answer().file as answer:
                    _write(answer, output)
        except CatalogOutdated:
            if last:
                raise
            _open_once(home)
        else:
            return


def _open_once(home: Path | None) -> None:
    """Bring the catalogue up to date, or say that there is none."""
    with opened(home):
        pass


def _bring_up_index(home: Path | None) -> None:
    """Have the packages of SBOMs in the search index; say so where some are not there yet."""
    with opened(home) as catalog:
        if not catalog.search.prepare():
            say("some SBOMs are not read yet, so that packages may be missing; ask again")


def _write(answer: BinaryIO, output: Path | None) -> None:
    """Copy an answer to standard output, or beside its file and then in its place."""
    if output is None:
        shutil.copyfileobj(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        part.replace(output)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LocalError(f"cannot write {output}: {error.strerror}") from error


def _list_questions(*, as_json: bool) -> None:
    from catalog.query.named import named_questions

    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "title": one.title,
                    "parameters": {part.name: part.default for part in one.parameters},
                    "sql": one.sql,
                }
                for one in named_questions().values()
            ]
        )
        return
    rows = [
        (one.name, one.title, " ".join(f"{part.name}={part.default}" for part in one.parameters))
        for one in named_questions().values()
    ]
    print_table(("NAME", "WHAT IT ANSWERS", "PARAMETERS"), rows)


def _read_question(sql: str, file: Path | None, named: str, values: list[str]) -> "Question":
    """Return the question; raise InvalidInput unless it is given in exactly one way."""
    from catalog.query.named import find_named
    from catalog.query.question import Question, parse_parameter

    parameters: Mapping[str, Value] = dict(map(parse_parameter, values))
    if sum(map(bool, (sql, file, named))) != 1:
        raise InvalidInput(
            "give one question: SQL, - for standard input, --file FILE, or --named NAME (--list names them)"
        )
    if named:
        return find_named(named).question(parameters)
    if file is not None:
        try:
            sql = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {file}: {error}") from None
    return Question(sys.stdin.read() if sql == "-" else sql, parameters)


def _print_answer(table: "pa.Table") -> None:
    rows = [[_cell(value) for value in row.values()] for row in table.to_pylist()]
    print_table(table.column_names, rows)


def _cell(value: object) -> str | None:
    """Return a value of an answer as text; times that have a zone as in JSON."""
    from catalog.units import format_time

    if isinstance(value, datetime) and value.tzinfo:
        return format_time(value)
    return None if value is None else str(value)
