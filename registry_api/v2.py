"""The registry protocol as one plain ASGI application: route, identify, check, handle, answer."""

import asyncio
import logging

from starlette.types import Receive, Scope, Send

from oci.errors import Denied, EntrepotError, Unsupported
from registry_api.access import ANONYMOUS, ANYBODYS, check_access, check_cache_access
from registry_api.bodies import ClientGone
from registry_api.caches import Caches
from registry_api.errors import RequestStalled, Stopping, error_answer, internal_answer, row_of
from registry_api.messages import Answer, Request, Sendable, find_header
from registry_api.registry import Registry
from registry_api.routes import MANIFEST, ROUTES, Match, checked_name, match_path

log = logging.getLogger("registry_api")


class DistributionApi:
    """Answers every request under /v2; no FastAPI on this way, since it takes longer than all the rest."""

    def __init__(self, registry: Registry, caches: Caches) -> None:
        self._registry, self._caches = registry, caches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every error of ours becomes an answer in the form of the specification."""
        try:
            answer = await self._answer(scope, receive)
        except ClientGone:
            return
        except asyncio.CancelledError:  # by the server only, when it stops and has waited long enough
            answer = error_answer(Stopping("stopped in the middle of a request"), (b"connection", "close"))
        except EntrepotError as error:
            answer = self._refusal(scope, error)
        except Exception:
            reference = self._registry.make_id()
            log.exception("unforeseen reference=%s method=%s path=%s", reference, scope["method"], scope["path"])
            answer = internal_answer(reference)
        await answer.send(send, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Sendable:
        match = match_path(scope["path"])
        route = ROUTES[match.pattern].get(scope["method"])
        if route is None:
            return _method_refused(scope, match)
        credentials = find_header(scope, b"authorization")
        user = await self._registry.gate.identify(credentials) if credentials is not None else ANONYMOUS
        if not match.name:
            check_access(user, route.action)
            return await route.handler(self._registry, Request("", "", match.reference, user, scope, receive))
        name = checked_name(match.name)
        found = await self._registry.find_distribution(name)
        cache = self._registry.catalog.distributions.find_cache(name)
        check_access(user, route.action, found)
        if cache is not None and (found is None or found.repository == name):
            check_cache_access(user, route.action, cache)
            if match.pattern == MANIFEST and route.action == "pull":
                await self._caches.bring(self._registry, cache, name, match.reference)
                found = await self._registry.find_distribution(name)
        if found is None and route.action not in ANYBODYS and self._registry.catalog.has_repository(name):
            raise Denied(f"nothing serves the repository {name}; `entrepot distribution create` makes a path for it")
        request = Request(name, found.repository if found else name, match.reference, user, scope, receive)
        return await route.handler(self._registry, request)

    def _refusal(self, scope: Scope, error: EntrepotError) -> Answer:
        if isinstance(error, RequestStalled):
            return error_answer(error, (b"connection", "close"))
        if row_of(type(error)).status < 500:
            return error_answer(error)
        reference = self._registry.make_id()
        log.error("failed reference=%s method=%s path=%s error=%s", reference, scope["method"], scope["path"], error)
        return error_answer(error, reference=reference)


def _method_refused(scope: Scope, match: Match) -> Answer:
    allowed = ", ".join(sorted(ROUTES[match.pattern]))
    error = Unsupported(f"{match.pattern} takes {allowed}, not {scope['method'][:50]}")
    return error_answer(error, (b"allow", allowed))
