"""Health of this process: `/healthz` for liveness, `/readyz` for readiness."""

import asyncio
import logging
import time
from functools import partial

from fastapi import APIRouter, Response
from pydantic import BaseModel

from oci.errors import EntrepotError
from registry_api.context import CurrentRegistry, Registry
from registry_api.http.errors import public_message

log = logging.getLogger("registry_api")
_PATIENCE = 10.0
"""Seconds after which a catalogue or disk that does not respond counts as unusable."""


class Health(BaseModel):
    """`status` is `ok` or `failing`; `reasons` say why, the log says more."""

    status: str
    reasons: list[str] = []


router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Health:
    """Return 200 as long as the process responds."""
    return Health(status="ok")


@router.get("/readyz", responses={503: {"model": Health}})
async def readyz(response: Response, registry: CurrentRegistry) -> Health:
    """Return 200 when the catalogue can be read and the storage written, else 503 with the reasons.

    The check runs once a second at most, however many ask: it takes a thread that pulls may need.
    """
    second = int(time.monotonic())
    reasons = await registry.readiness.get("ready", second, "", partial(_find_faults, registry), len)
    if reasons:
        response.status_code = 503
    return Health(status="failing" if reasons else "ok", reasons=reasons)


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
