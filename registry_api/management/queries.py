"""SQL queries over HTTP, for administrators only: the catalogue lists private repositories too.

A process of its own (catalog/query/run.py) runs each query into a file, which is then sent: a response is whole, or an error.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from catalog.query.check import MAX_LENGTH
from catalog.query.named import NamedQuestion, find_named, named_questions
from catalog.query.question import FORMATS, MEDIA_TYPES, Format, Limits, Question, Value, parse_as_of
from catalog.query.run import Answer, Asking, limits_of
from catalog.unit_fields import Seconds
from oci.errors import EntrepotError, InvalidInput
from registry_api.http.errors import NotAcceptable
from registry_api.http.threads import Threads
from registry_api.management.dependencies import FAILURES, ReadingContext, RequestContext, UnqueuedRoute

_PIECE = 256 * 1024
_LOOK_EVERY = 0.5
"""Seconds between checks whether the client is still connected."""

_NOTED = 2000
"""Characters of a query that its audit event keeps."""


class QueryIn(BaseModel):
    """A query: SQL, or the name of a built-in one. Limits can only be lowered."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field("", max_length=MAX_LENGTH, description="One reading statement.")
    named: str = Field("", max_length=100, description="A query of /api/v1/questions.")
    parameters: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, max_length=100, description="Values of $NAME."
    )
    at: str = Field("", max_length=100, description="As of a time (ISO 8601).")
    version: str = Field("", max_length=300, description="As of NAME@NUMBER, and of that repository alone.")
    format: Format | None = Field(None, description="Default: as Accept says, else json.")
    max_rows: int | None = Field(None, ge=1, le=2**53)
    timeout: Seconds | None = Field(None, gt=0, le=10**6, description="Seconds, or a duration such as 5m.")


class ParameterOut(BaseModel):
    """A parameter of a built-in query."""

    name: str
    default: str | int | float | bool | None
    meaning: str


class QuestionOut(BaseModel):
    """A built-in query."""

    name: str
    title: str
    parameters: list[ParameterOut]
    sql: str


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The result; the header Entrepot-Rows counts its rows.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            **{MEDIA_TYPES[form]: {"schema": {"type": "string"}} for form in FORMATS if form != "json"},
        },
    }
}


router = APIRouter(prefix="/api/v1", tags=["questions"], route_class=UnqueuedRoute, responses=FAILURES)


async def _respond(request: Request, context: RequestContext, query: QueryIn) -> Response:
    form = query.format or choose_format(request.headers.get("accept", ""))
    return answer_response(context, await answer_query(request, context, query, form), form)


async def answer_query(request: Request, context: RequestContext, query: QueryIn, form: Format) -> Answer:
    """Run a query of an administrator in one of this process's slots, and note it as an audit event.

    Raises TooManyRequests when no slot is free, and what the query fails with.
    """
    context.check_administrator()
    question = read_question(query)
    settings = context.catalog.settings
    limits = limits_of(settings).lowered(rows=query.max_rows, timeout=query.timeout)
    detail = {
        "sql": question.sql[:_NOTED],
        "at": query.at,
        "version": query.version,
        "parameters": dict(question.parameters),
    }
    try:
        result = await run_question(request, context, question, limits, form)
    except EntrepotError as error:
        context.note("query", query.named, outcome="refused", reason=error.message[:500], detail=detail)
        raise
    context.note("query", query.named, detail={**detail, "rows": result.rows, "bytes": result.size})
    return result


async def run_question(
    request: Request, context: RequestContext, question: Question, limits: Limits, form: Format
) -> Answer:
    """Run a question in a process of its own, in one of this process's slots; whoever calls has checked the right to it.

    Raises TooManyRequests when no slot is free, and what the question fails with.
    """
    with context.registry.queries.hold(context.catalog.settings.query_concurrency):
        return await _run(request, context.threads, context.catalog.query.start(question, limits, form))


def answer_response(context: RequestContext, result: Answer, form: Format) -> Response:
    """Return the response that sends a result."""
    headers = {"content-length": str(result.size), "entrepot-rows": str(result.rows), "cache-control": "no-store"}
    return StreamingResponse(_pieces(context.threads, result.file), media_type=MEDIA_TYPES[form], headers=headers)


async def _run(request: Request, threads: Threads, asking: Asking) -> Answer:
    """Return the result; stop the query's process when the client disconnects or this task is cancelled."""
    waiting = asyncio.ensure_future(threads.run(_answer, asking))
    try:
        while not (await asyncio.wait({waiting}, timeout=_LOOK_EVERY))[0]:
            if await request.is_disconnected():
                asking.stop()
        return await waiting
    finally:
        if not waiting.done():
            asking.stop()
            await asyncio.wait({waiting})


def _answer(asking: Asking) -> Answer:
    with asking:
        return asking.answer()


@router.post("/query", response_class=Response, responses=_ANSWERS)
async def post_query(request: Request, context: ReadingContext, query: QueryIn) -> Response:
    """Run an SQL query; administrators only."""
    return await _respond(request, context, query)


@router.get("/query", response_class=Response, responses=_ANSWERS)
async def get_query(
    request: Request,
    context: ReadingContext,
    sql: Annotated[str, Query(max_length=MAX_LENGTH)] = "",
    named: Annotated[str, Query(max_length=100)] = "",
    at: Annotated[str, Query(max_length=100)] = "",
    version: Annotated[str, Query(max_length=300)] = "",
    format: Annotated[Format | None, Query()] = None,  # noqa: A002  # the parameter's name in the URL
    max_rows: Annotated[int | None, Query(ge=1, le=2**53)] = None,
    timeout: Annotated[Seconds | None, Query(gt=0, le=10**6)] = None,  # noqa: ASYNC109  # the query's, not ours
) -> Response:
    """Run an SQL query without parameters; administrators only."""
    query = QueryIn(sql=sql, named=named, at=at, version=version, format=format, max_rows=max_rows, timeout=timeout)
    return await _respond(request, context, query)


@router.get("/questions", response_model=list[QuestionOut])
async def list_questions(context: ReadingContext) -> list[QuestionOut]:
    """List the built-in queries."""
    context.check_administrator()
    return [_question_out(question) for question in named_questions().values()]


def read_question(query: QueryIn) -> Question:
    """Return the question of a request; raise InvalidInput or NameInvalid. Pure."""
    as_of = parse_as_of(moment=query.at, version=query.version)
    if bool(query.sql) == bool(query.named):
        raise InvalidInput("invalid query: expected either sql or named")
    parameters: Mapping[str, Value] = query.parameters
    if query.named:
        return find_named(query.named).question(parameters, as_of)
    return Question(query.sql, parameters, as_of)


def choose_format(accept: str) -> Format:
    """Return the format that an Accept header prefers (RFC 9110, 12.5.1), json for an empty one; raise NotAcceptable. Pure."""
    if not accept.strip():
        return "json"
    accepted: list[tuple[float, int, Format]] = []
    for number, part in enumerate(accept.split(",")):
        kind, *options = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(options)
        forms = [
            form for form in FORMATS if kind in (MEDIA_TYPES[form], "*/*", f"{MEDIA_TYPES[form].partition('/')[0]}/*")
        ]
        if forms and quality > 0:
            accepted.append((-quality, number, forms[0]))
    if not accepted:
        raise NotAcceptable(f"invalid Accept {accept[:200]!r}: expected one of {', '.join(MEDIA_TYPES.values())}")
    return min(accepted)[2]


def _quality(options: list[str]) -> float:
    for option in options:
        if option.startswith("q="):
            try:
                return float(option[2:])
            except ValueError:
                return 0.0
    return 1.0


async def _pieces(threads: Threads, file: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while piece := await threads.run(file.read, _PIECE):
            yield piece
    finally:
        file.close()


def _question_out(question: NamedQuestion) -> QuestionOut:
    parameters = [
        ParameterOut(name=part.name, default=part.default, meaning=part.meaning) for part in question.parameters
    ]
    return QuestionOut(name=question.name, title=question.title, parameters=parameters, sql=question.sql)
