"""The registry protocol as one plain ASGI application: route, identify, check, handle, answer."""

import asyncio
import logging
from functools import partial

from starlette.types import Message, Receive, Scope, Send

from catalog.access.policy import NOBODY, Caller
from catalog.distributions.records import Distribution
from catalog.versions.snapshot import Snapshot
from catalog.versions.time_travel import Past
from oci.digest import Digest
from oci.errors import BlobUnknown, Denied, EntrepotError, RemoteLeftOut, RemoteNotFound, Unauthorized, Unsupported
from oci.reference import is_name
from oci.remote.network.hops import Hops, current, parse_via
from registry_api.auth.challenges import challenge, scopes_for
from registry_api.auth.gate import CHANGES, LoginNeeded, ScopeMissing, address_of, check_changeable, own_mark
from registry_api.context import Registry
from registry_api.http.bodies import ClientGone
from registry_api.http.errors import ChildLeftOut, RequestStalled, Stopping, error_answer, internal_answer, row_of
from registry_api.http.messages import Answer, Headers, Request, Sendable, find_header, warning_value
from registry_api.pull_through.admission import why_not_ask
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import AbsentChildren
from registry_api.v2.atomic_signatures import SUPPORTED
from registry_api.v2.listings import list_tags_with
from registry_api.v2.routes import (
    BASE,
    BLOB,
    MANIFEST,
    REFERRERS,
    ROUTES,
    SIGNATURES,
    TAGS,
    UPLOADS,
    Handler,
    Match,
    Route,
    checked_name,
    match_path,
)

log = logging.getLogger("registry_api")


class DistributionApi:
    """Answers every request under /v2; no FastAPI on this way, since it takes longer than all the rest."""

    def __init__(self, registry: Registry, caches: Caches, absent: AbsentChildren) -> None:
        self._registry, self._caches, self._absent = registry, caches, absent
        self._hops: Hops | None = None

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
        """1. Route. 2. Identify, and count the request. 3. Find what the path leads to. 4. Check the right. 5. Bring what a
        cache has not yet. 6. Handle."""
        registry = self._registry
        match = match_path(scope["path"])
        route = ROUTES[match.pattern].get(scope["method"])
        if route is None:
            return _method_refused(scope, match)
        caller = await self._identify(scope)
        if route.action in CHANGES and registry.catalog.settings.read_only:
            raise Unsupported("this registry is read-only now; pulls go on")
        if not match.name:
            if match.pattern == BASE and caller == NOBODY:
                raise Unauthorized("a login, or a token for nobody in particular, is wanted here")
            return await route.handler(registry, Request("", "", match.reference, caller, scope, receive))
        if route.action == "pull":
            current.set(self._hops_of(scope))
        name, more = self._place(scope, route, checked_name(match.name))
        found = await registry.find_distribution(name)
        cache = registry.catalog.distributions.find_cache(name)
        if cache is not None and found is not None and found.repository != name:
            cache = None
        past = registry.catalog.time_travel.parse(name) if found is None and cache is None else None
        if past is not None:
            found = await self._find_past(scope, route, caller, name, past)
        else:
            self._check(scope, route, caller, name, found, cache)
        handler = route.handler
        if cache is not None and route.action == "pull":
            handler, warning = await self._below_cache(scope, match, caller, cache, name, handler)
            if warning:
                more.append((b"warning", warning_value(warning).encode()))
            found = await registry.find_distribution(name)
        elif found is not None and match.pattern == MANIFEST and route.action == "pull" and ":" in match.reference:
            snapshot = registry.catalog.serving.cached(name)
            if snapshot is None or match.reference not in snapshot.manifests:
                await self._absent.bring(registry, found, match.reference)
        request = Request(name, found.repository if found else name, match.reference, caller, scope, receive)
        answer = await handler(registry, request)
        return MoreHeaders(answer, more) if more else answer

    def _hops_of(self, scope: Scope) -> Hops:
        """Which registries ask on whose behalf: all those that the request has passed, and then this one."""
        if self._hops is None:
            self._hops = Hops(own_mark(self._registry.gate.access.policy, self._registry.catalog.settings))
        via = find_header(scope, b"via")
        return self._hops if via is None else parse_via(via.decode("latin-1"), self._hops.own)

    def _place(self, scope: Scope, route: Route, name: str) -> tuple[str, list[tuple[bytes, bytes]]]:
        """The path that a name stands for, which is another one below a cache for the parameter `ns`; and headers that say so."""
        if route.action != "pull" or b"ns=" not in scope["query_string"]:
            return name, []
        namespace = _parameter(scope, "ns")
        if not namespace:
            return name, []
        name, heeded = self._caches.place(self._registry, namespace, name)
        return name, [(b"oci-namespace", heeded.encode("latin-1", "replace"))] if heeded else []

    def _check(
        self,
        scope: Scope,
        route: Route,
        caller: Caller,
        name: str,
        found: Distribution | None,
        cache: Distribution | None,
    ) -> None:
        """Raise what keeps the caller from doing that to what the path leads to."""
        registry = self._registry
        served = found or cache
        self._check_right(scope, route, caller, name, public=served is not None and not served.private)
        if route.action in CHANGES:
            check_changeable(route.action, name, found, cache)
            if found is None and registry.catalog.snapshots.has(name):
                raise Denied(
                    f"nothing serves the repository {name}; `entrepot distribution create` makes a path for it"
                )

    async def _below_cache(
        self, scope: Scope, match: Match, caller: Caller, cache: Distribution, name: str, handler: Handler
    ) -> tuple[Handler, str]:
        """See what keeps the request from asking upstream, and let it ask if nothing does."""
        registry = self._registry
        why_not = why_not_ask(registry, cache, name, caller)
        if isinstance(why_not, Unauthorized | Denied) and await self._is_child(name, match):
            why_not = None  # a part of what is here
        try:
            return await self._ask_upstream(match, cache, name, handler, why_not)
        except Denied as error:
            registry.gate.note_not_brought(caller, name, error, address_of(scope))
            raise

    def _check_right(self, scope: Scope, route: Route, caller: Caller, path: str, *, public: bool) -> None:
        if not (public and route.action == "pull"):
            self._registry.gate.check(caller, route.action, path, public=public, address=address_of(scope))

    async def _find_past(self, scope: Scope, route: Route, caller: Caller, name: str, past: Past) -> Distribution:
        """What a path of the past serves; the rights are those of the path whose past it is, and nothing can be changed.

        That the path is public opens the versions that it has served since it is.
        """
        registry = self._registry
        public = await registry.is_open(name)
        self._check_right(scope, route, caller.with_past(name, past.path), past.path, public=public)
        if route.action in CHANGES:
            raise Denied(f"{name} shows what {past.path} was, which nobody changes; {route.action} to {past.path}")
        return await registry.threads.run(registry.catalog.time_travel.at, name, past)

    async def _ask_upstream(
        self, match: Match, cache: Distribution, name: str, handler: Handler, why_not: EntrepotError | None
    ) -> tuple[Handler, str]:
        """Bring what is asked for below a cache; return what answers then, and a warning when that may be stale."""
        registry = self._registry
        if match.pattern == MANIFEST:
            return handler, await self._caches.bring(registry, cache, name, match.reference, why_not)
        if match.pattern == REFERRERS:
            return handler, await self._caches.bring_referrers(registry, cache, name, match.reference, why_not)
        if match.pattern == SIGNATURES:
            return handler, await self._caches.bring_signatures(registry, cache, name, match.reference, why_not)
        if match.pattern == TAGS:
            tags, warning = await self._caches.list_tags(registry, cache, name, why_not)
            return partial(list_tags_with, tags), warning
        if match.pattern == BLOB and isinstance(why_not, RemoteNotFound):
            digest = Digest.parse(match.reference)
            snapshot = await registry.find_served(name) or Snapshot(name, 0)
            if registry.catalog.rights.usable_size(snapshot, digest) is None:
                raise BlobUnknown(why_not.message)
        return handler, ""

    async def _is_child(self, name: str, match: Match) -> bool:
        """Whether a manifest is asked for that an index here names."""
        if match.pattern != MANIFEST or ":" not in match.reference:
            return False
        snapshot = await self._registry.find_served(name)
        return (
            snapshot is not None and await self._absent.parent_of(self._registry, snapshot, match.reference) is not None
        )

    async def _identify(self, scope: Scope) -> Caller:
        registry = self._registry
        try:
            caller = await registry.gate.identify(scope)
        except Unauthorized:
            registry.rate.spend(registry.asker(NOBODY, scope))
            raise
        registry.rate.spend(registry.asker(caller, scope))
        return caller

    def _refusal(self, scope: Scope, error: EntrepotError) -> Answer:
        if isinstance(error, RequestStalled):
            return error_answer(error, (b"connection", "close"))
        status = row_of(type(error)).status
        if status == 401 and error.side == "request":
            return error_answer(error, (b"www-authenticate", self._challenge(scope, error)), SUPPORTED)
        if isinstance(error, ChildLeftOut | RemoteLeftOut):
            return error_answer(error, (b"warning", warning_value(error.message)))
        if status < 500:
            return error_answer(error)
        reference = self._registry.make_id()
        log.error("failed reference=%s method=%s path=%s error=%s", reference, scope["method"], scope["path"], error)
        return error_answer(error, reference=reference)

    def _challenge(self, scope: Scope, error: EntrepotError) -> str:
        match = match_path(scope["path"])
        action = ROUTES[match.pattern][scope["method"]].action
        mounts_from = None
        if match.pattern == UPLOADS and b"from=" in scope["query_string"]:
            source = _parameter(scope, "from")
            mounts_from = source if source and is_name(source) else None
        scopes = scopes_for(action, match.name if is_name(match.name) else "", mounts_from)
        said = "insufficient_scope" if isinstance(error, ScopeMissing) else ""
        if not said and (find_header(scope, b"authorization") or b"").lower().startswith(b"bearer"):
            said = "insufficient_scope" if isinstance(error, LoginNeeded) else "invalid_token"
        registry = self._registry
        base = None if registry.catalog.settings.auth == "basic" else registry.hosts.base_url(scope)
        return challenge(base, scopes, error=said)


def _parameter(scope: Scope, name: str) -> str | None:
    return Request("", "", "", NOBODY, scope, _no_body).parameter(name)


async def _no_body() -> Message:
    return {"type": "http.disconnect"}


class MoreHeaders:
    """An answer with further headers: OCI-Namespace when the parameter `ns` was heeded (distribution-spec, development head),
    Warning when a cache could not ask upstream (distribution-spec, "Warnings")."""

    def __init__(self, answer: Sendable, headers: Headers) -> None:
        self._answer, self._more = answer, headers

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it with the headers."""

        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self._more]}
            await send(message)

        await self._answer.send(with_header, head=head)


def _method_refused(scope: Scope, match: Match) -> Answer:
    allowed = ", ".join(sorted(ROUTES[match.pattern]))
    error = Unsupported(f"{match.pattern} takes {allowed}, not {scope['method'][:50]}")
    return error_answer(error, (b"allow", allowed))
