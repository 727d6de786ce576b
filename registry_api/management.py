"""Management JSON under /api/v1: for programs that administer or replicate this installation."""

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import Response
from pydantic import BaseModel

from oci.errors import EntrepotError
from registry_api.access import ANONYMOUS
from registry_api.errors import error_answer
from registry_api.registry import Registry


class DistributionOut(BaseModel):
    """A path that content is served at: `version` null is the repository's latest."""

    path: str
    repository: str
    version: int | None
    private: bool
    description: str


class DistributionsOut(BaseModel):
    """The distributions that the asker may pull from, by path."""

    distributions: list[DistributionOut]


def management_routes(registry: Registry) -> APIRouter:
    """`/api/v1/distributions`."""
    router = APIRouter(prefix="/api/v1", tags=["management"])

    @router.get("/distributions", response_model=DistributionsOut)
    async def list_distributions(authorization: Annotated[str | None, Header()] = None) -> DistributionsOut | Response:
        """Everybody sees the public distributions, users the private ones too; caches are none of them."""
        try:
            user = await registry.gate.identify(authorization.encode("latin-1")) if authorization else ANONYMOUS
            await registry.find_distribution("")  # so that what other processes made is known
        except EntrepotError as error:
            answer = error_answer(error)
            return Response(answer.body, answer.status, {key.decode(): value.decode() for key, value in answer.headers})
        found = [one for one in registry.catalog.distributions.all() if one.is_listed_for(user)]
        return DistributionsOut(
            distributions=[
                DistributionOut(
                    path=one.path,
                    repository=one.repository,
                    version=one.version,
                    private=one.private,
                    description=one.description,
                )
                for one in found
            ]
        )

    return router
