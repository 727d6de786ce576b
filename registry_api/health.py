"""Whether this process lives, and whether it can serve."""

import asyncio
import logging
import time
from functools import partial

from fastapi import APIRouter, Response
from pydantic import BaseModel

from oci.errors import EntrepotError
from registry_api.context import Registry
from registry_api.http.errors import public_message
from registry_api.http.response_cache import Answers

log = logging.getLogger("registry_api")
_PATIENCE = 10.0
"""Seconds after which a catalogue or disk that does not answer counts as one that cannot serve."""


class Health(BaseModel):
    """`status` is `ok` or `failing`; `reasons` say why, the log says more."""

    status: str
    reasons: list[str] = []


def health_routes(registry: Registry) -> APIRouter:
    """`/healthz` and `/readyz`."""
    router = APIRouter(tags=["health"])
    answers = Answers()

    @router.get("/healthz")
    async def healthz() -> Health:
        """200 as long as the process answers."""
        return Health(status="ok")

    @router.get("/readyz", responses={503: {"model": Health}})
    async def readyz(response: Response) -> Health:
        """200 when the catalogue can be read and the storage written, else 503 with the reasons.

        It is looked at once a second at most, however many ask: looking takes a thread that pulls may need.
        """
        reasons = await answers.get("ready", int(time.monotonic()), "", partial(_find_faults, registry), len)
        if reasons:
            response.status_code = 503
        return Health(status="failing" if reasons else "ok", reasons=reasons)

    return router


async def _find_faults(registry: Registry) -> list[str]:
    try:
        async with asyncio.timeout(_PATIENCE):
            await registry.threads.run(registry.catalog.check)
    except TimeoutError:
        log.error("not ready error=no answer from catalogue or storage within %g s", _PATIENCE)  # noqa: TRY400
        return [f"catalogue or storage did not answer within {_PATIENCE:g} s"]
    except EntrepotError as error:
        log.error("not ready error=%s", error)  # noqa: TRY400  # our errors say what and where without a traceback
        return [public_message(error)]
    return []
