"""Questions in SQL over HTTP, for administrators: the catalogue tells of private repositories too.

Each is answered by a process of its own (catalog/query/run.py), into a file that is then sent: an answer is whole, or an error.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from catalog.query.check import MAX_LENGTH
from catalog.query.named import NamedQuestion, find_named, named_questions
from catalog.query.question import FORMATS, MEDIA_TYPES, Format, Limits, Question, Value, parse_as_of
from catalog.query.run import Answer, Asking, limits_of
from oci.errors import EntrepotError, InvalidInput, TooManyRequests
from registry_api.context import Registry
from registry_api.http.errors import NotAcceptable
from registry_api.management.dependencies import FAILURES, Asker, OwnTurns, asker_of

_PIECE = 256 * 1024
_LOOK_EVERY = 0.5
"""Seconds between looks at whether who has asked is still there."""

_NOTED = 2000
"""Characters of a question that its audit event keeps."""


class QueryIn(BaseModel):
    """A question: SQL, or the name of one that comes with Entrepôt. Limits can only be lowered."""

    model_config = ConfigDict(extra="forbid")

    sql: str = Field("", max_length=MAX_LENGTH, description="One reading statement.")
    named: str = Field("", max_length=100, description="A question of /api/v1/questions.")
    parameters: dict[str, str | int | float | bool | None] = Field(
        default_factory=dict, max_length=100, description="Values of $NAME."
    )
    at: str = Field("", max_length=100, description="As of a time (ISO 8601).")
    version: str = Field("", max_length=300, description="As of NAME@NUMBER, and of that repository alone.")
    format: Format | None = Field(None, description="Default: as Accept says, else json.")
    max_rows: int | None = Field(None, ge=1, le=2**53)
    timeout: float | None = Field(None, gt=0, le=10**6, description="Seconds.")


class ParameterOut(BaseModel):
    """What can be set in a question."""

    name: str
    default: str | int | float | bool | None
    meaning: str


class QuestionOut(BaseModel):
    """A question that comes with Entrepôt."""

    name: str
    title: str
    parameters: list[ParameterOut]
    sql: str


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; its rows are counted in the header Entrepot-Rows.",
        "content": {
            "application/json": {"schema": {"type": "array", "items": {"type": "object"}}},
            **{MEDIA_TYPES[form]: {"schema": {"type": "string"}} for form in FORMATS if form != "json"},
        },
    }
}


class Questions:
    """How many questions this process answers at a time."""

    def __init__(self, registry: Registry) -> None:
        self._registry, self._left = registry, registry.catalog.settings.query_concurrency

    async def answer(self, request: Request, question: Question, limits: Limits, form: Format) -> Answer:
        """Ask, and stop the process when the client goes away or we are stopped; raise TooManyRequests."""
        if self._left <= 0:
            raise TooManyRequests("other questions are being answered; ask again in a moment", retry_after=2.0)
        self._left -= 1
        try:
            return await self._wait(request, self._registry.catalog.query.start(question, limits, form))
        finally:
            self._left += 1

    async def _wait(self, request: Request, asking: Asking) -> Answer:
        waiting = asyncio.ensure_future(self._registry.threads.run(_answer, asking))
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


def query_routes(registry: Registry) -> APIRouter:
    """Questions in SQL, for administrators."""
    router = APIRouter(prefix="/api/v1", tags=["questions"], route_class=OwnTurns, responses=FAILURES)
    asking = Depends(asker_of(registry, changes=False))
    questions = Questions(registry)

    async def answer(request: Request, wanted: QueryIn, asker: Asker) -> Response:
        asker.administration()
        form = wanted.format or choose_format(request.headers.get("accept", ""))
        question = read_question(wanted)
        limits = limits_of(registry.catalog.settings).lowered(rows=wanted.max_rows, timeout=wanted.timeout)
        detail = {
            "sql": question.sql[:_NOTED],
            "at": wanted.at,
            "version": wanted.version,
            "parameters": dict(question.parameters),
        }
        try:
            found = await questions.answer(request, question, limits, form)
        except EntrepotError as error:
            asker.note("query", wanted.named, outcome="refused", reason=error.message[:500], detail=detail)
            raise
        asker.note("query", wanted.named, detail={**detail, "rows": found.rows, "bytes": found.size})
        headers = {"content-length": str(found.size), "entrepot-rows": str(found.rows), "cache-control": "no-store"}
        return StreamingResponse(_pieces(registry, found.file), media_type=MEDIA_TYPES[form], headers=headers)

    @router.post("/query", response_class=Response, responses=_ANSWERS)
    async def post_query(request: Request, wanted: QueryIn, asker: Asker = asking) -> Response:
        """Answer a question in SQL; administrators only."""
        return await answer(request, wanted, asker)

    @router.get("/query", response_class=Response, responses=_ANSWERS)
    async def get_query(
        request: Request,
        sql: Annotated[str, Query(max_length=MAX_LENGTH)] = "",
        named: Annotated[str, Query(max_length=100)] = "",
        at: Annotated[str, Query(max_length=100)] = "",
        version: Annotated[str, Query(max_length=300)] = "",
        format: Annotated[Format | None, Query()] = None,  # noqa: A002  # the parameter's name in the URL
        max_rows: Annotated[int | None, Query(ge=1, le=2**53)] = None,
        timeout: Annotated[float | None, Query(gt=0, le=10**6)] = None,  # noqa: ASYNC109  # the question's, not ours
        asker: Asker = asking,
    ) -> Response:
        """As POST, without parameters."""
        wanted = QueryIn(
            sql=sql, named=named, at=at, version=version, format=format, max_rows=max_rows, timeout=timeout
        )
        return await answer(request, wanted, asker)

    @router.get("/questions", response_model=list[QuestionOut])
    async def list_questions(asker: Asker = asking) -> list[QuestionOut]:
        """The questions that come with Entrepôt."""
        asker.administration()
        return [_question_out(one) for one in named_questions().values()]

    return router


def read_question(wanted: QueryIn) -> Question:
    """What is asked; raise InvalidInput or NameInvalid. Pure."""
    as_of = parse_as_of(moment=wanted.at, version=wanted.version)
    if bool(wanted.sql) == bool(wanted.named):
        raise InvalidInput("give one question: sql, or named")
    parameters: Mapping[str, Value] = wanted.parameters
    if wanted.named:
        return find_named(wanted.named).question(parameters, as_of)
    return Question(wanted.sql, parameters, as_of)


def choose_format(accept: str) -> Format:
    """The form that an Accept header likes best (RFC 9110, 12.5.1); json when it does not say; raise NotAcceptable. Pure."""
    if not accept.strip():
        return "json"
    liked: list[tuple[float, int, Format]] = []
    for number, part in enumerate(accept.split(",")):
        kind, *options = (piece.strip().lower() for piece in part.split(";"))
        quality = _quality(options)
        forms = [
            form for form in FORMATS if kind in (MEDIA_TYPES[form], "*/*", f"{MEDIA_TYPES[form].partition('/')[0]}/*")
        ]
        if forms and quality > 0:
            liked.append((-quality, number, forms[0]))
    if not liked:
        raise NotAcceptable(f"answers are {', '.join(MEDIA_TYPES.values())}; Accept names none of them")
    return min(liked)[2]


def _quality(options: list[str]) -> float:
    for option in options:
        if option.startswith("q="):
            try:
                return float(option[2:])
            except ValueError:
                return 0.0
    return 1.0


async def _pieces(registry: Registry, file: BinaryIO) -> AsyncIterator[bytes]:
    try:
        while piece := await registry.threads.run(file.read, _PIECE):
            yield piece
    finally:
        file.close()


def _question_out(one: NamedQuestion) -> QuestionOut:
    parameters = [ParameterOut(name=part.name, default=part.default, meaning=part.meaning) for part in one.parameters]
    return QuestionOut(name=one.name, title=one.title, parameters=parameters, sql=one.sql)
