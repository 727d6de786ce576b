"""The page to ask in: SQL, and the questions that come with us; the answer as a table, CSV or Parquet, at a link to share."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from catalog.query.check import MAX_LENGTH
from catalog.query.named import named_questions
from catalog.query.run import Answer
from oci.errors import Denied, EntrepotError, TooManyRequests
from registry_api.http.errors import is_ours, row_of
from registry_api.management.queries import QueryIn, answer_query, answer_response
from registry_api.pages.framework.own_forms import is_cross_site
from registry_api.pages.framework.responses import SECURITY_HEADERS
from registry_api.pages.framework.visits import CurrentVisit, PageRoute

_ROWS = 200
_SECONDS = 30.0
_LONGEST = 2000
Cell = str | int | float | bool | None


class NamedOut(BaseModel):
    """A question that comes with us."""

    name: str
    title: str


class AskPage(BaseModel):
    """A question and its answer: columns and the first rows; `error` says why there is none.

    `needs_confirmation`: a page of another site has led here, so that the question is not asked before the visitor says so.
    """

    sql: str
    named: str
    at: str
    questions: list[NamedOut]
    columns: list[str]
    rows: list[list[Cell]]
    is_cut: bool
    needs_confirmation: bool
    error: str


router = APIRouter(route_class=PageRoute, include_in_schema=False)
Sql = Annotated[str, Query(max_length=MAX_LENGTH)]
Name = Annotated[str, Query(max_length=100)]


@router.get("/ask")
@router.get("/ask.json")
async def show_ask(request: Request, visit: CurrentVisit, sql: Sql = "", named: Name = "", at: Name = "") -> Response:
    """Show the form, and the answer to what it asks."""
    visit.check_administrator()
    sql = sql.strip()
    if named:
        sql = ""
    table: tuple[list[str], list[list[Cell]]] = ([], [])
    error, status = "", 200
    needs_confirmation = bool(sql or named) and is_cross_site(request)
    if (sql or named) and not needs_confirmation:
        try:
            query = _query(sql, named, at, max_rows=_ROWS + 1, timeout=_SECONDS)
            answer = await answer_query(request, visit, query, "json")
            table = await visit.threads.run(read_answer, answer)
        except TooManyRequests:
            raise
        except EntrepotError as refusal:
            if is_ours(refusal):
                raise
            error, status = refusal.message, row_of(type(refusal)).status
    columns, rows = table
    return await visit.respond(
        "ask.html",
        lambda _: _ask_page(sql, named, at, columns, rows, error, needs_confirmation=needs_confirmation),
        status=status,
    )


@router.get("/ask.{form}")
async def download_answer(
    request: Request,
    visit: CurrentVisit,
    form: Literal["csv", "parquet"],
    sql: Sql = "",
    named: Name = "",
    at: Name = "",
) -> Response:
    """Send an answer as a file."""
    visit.check_administrator()
    if is_cross_site(request):
        raise Denied("another site has led here; open the page and ask there")
    query = _query("" if named else sql, named, at)
    response = answer_response(visit, await answer_query(request, visit, query, form), form)
    response.headers.update(SECURITY_HEADERS)
    response.headers["content-disposition"] = f'attachment; filename="answer.{form}"'
    return response


def _query(sql: str, named: str, at: str, *, max_rows: int | None = None, timeout: float | None = None) -> QueryIn:
    return QueryIn(sql=sql, named=named, at=at.strip(), version="", format=None, max_rows=max_rows, timeout=timeout)


def read_answer(answer: Answer) -> tuple[list[str], list[list[Cell]]]:
    """Return the columns and rows of an answer in JSON, and close it."""
    with answer.file as file:
        found: list[Mapping[str, Any]] = json.load(file)
    columns = list(found[0]) if found else []
    return columns, [[cell_of(row.get(column)) for column in columns] for row in found]


def cell_of(value: object) -> Cell:
    """Return a value as a table shows it: numbers as they are, lists and maps as JSON. Pure."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _ask_page(
    sql: str, named: str, at: str, columns: list[str], rows: list[list[Cell]], error: str, *, needs_confirmation: bool
) -> AskPage:
    questions = [NamedOut(name=one.name, title=one.title) for one in named_questions().values()]
    return AskPage(
        sql=sql,
        named=named,
        at=at,
        questions=questions,
        columns=columns,
        rows=rows[:_ROWS],
        is_cut=len(rows) > _ROWS,
        needs_confirmation=needs_confirmation,
        error=error,
    )
