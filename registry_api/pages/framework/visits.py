"""The site of one process: sessions, templates, and the way of a page's request from its caller to its rendering."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.routing import Match
from starlette.types import Scope

from catalog.access.bearer_tokens import PageSession
from catalog.access.ended_sessions import SessionEnds
from catalog.access.policy import Action, Caller, Grant
from catalog.browse.recent_versions import RecentVersions
from catalog.settings import Settings
from catalog.space.report import SpaceReports
from catalog.state.shared_state import SharedState
from catalog.versions.snapshot import Snapshot
from oci.errors import EntrepotError, InvalidInput, NameUnknown, NotFound
from registry_api.auth.access_controller import LoginNeeded, address_of, is_administrator
from registry_api.auth.challenges import BASIC
from registry_api.auth.code_flow import open_code_flow
from registry_api.context import Registry, registry_of
from registry_api.http.bodies import ClientGone
from registry_api.http.errors import public_message, row_of
from registry_api.http.exchange import exchange_of
from registry_api.http.fair_queue import FairQueue
from registry_api.http.fastapi_errors import fastapi_error_response
from registry_api.http.messages import find_header
from registry_api.management.dependencies import RequestContext, check_url
from registry_api.pages.framework.flow_watch import PrefectWatch, ask_flow_states, ask_runs_in_progress
from registry_api.pages.framework.live_feed import LiveFeed
from registry_api.pages.framework.responses import HTML, JSON, page_response
from registry_api.pages.framework.sessions import Sessions, form_token
from registry_api.pages.framework.visible_paths import VisiblePath, VisiblePaths, read_visible_paths

if TYPE_CHECKING:
    import httpx

    from registry_api.pages.framework.rendering import Renderer

_T = TypeVar("_T", bound=BaseModel)


class Site:
    """What the pages of one process share."""

    def __init__(
        self, settings: Settings, state: SharedState | None, make_client: "Callable[[], httpx.AsyncClient]"
    ) -> None:
        """`make_client` makes the client that asks issuers; it loads the HTTP client, so call it on a thread."""
        self.sessions = Sessions(settings, SessionEnds(settings, state))
        self.flows = PrefectWatch(lambda: ask_flow_states(settings))
        self.runs = PrefectWatch(lambda: ask_runs_in_progress(settings), kept=2.0)
        self.feed = LiveFeed()
        self.code_flow = open_code_flow(settings, make_client)
        self.prefect_requests = FairQueue(4, waiting=8)
        self.space = SpaceReports(settings, state)

    @cached_property
    def renderer(self) -> "Renderer":
        """Return what renders templates; loaded by the first page, on a thread, since pulls need none of it."""
        from registry_api.pages.framework.rendering import Renderer

        return Renderer()

    async def close(self) -> None:
        """End what is asked of others, and what follows changes."""
        await self.feed.close()
        await self.flows.close()
        await self.runs.close()

    async def held(self, visit: "Visit") -> tuple[int, int]:
        """Return how many blobs the store holds, and their bytes: asked once a minute at most, since it counts them."""

        async def count() -> tuple[int, int]:
            return await visit.threads.run(visit.catalog.content.totals)

        minute = int(time.monotonic() // 60)
        return await visit.registry.responses.get("held", minute, visit.cost_key, count, len)


def accepts_html(scope: Scope) -> bool:
    """Return whether a request comes from a browser: it names HTML as what it accepts. Pure."""
    return re.search(rb"\btext/html\b", find_header(scope, b"accept") or b"", re.IGNORECASE) is not None


class PageRoute(APIRoute):
    """Routes of pages: other methods, and `/` for other clients, are answered as if there were no page."""

    takes_turns = True
    """Whether reading requests wait for turns by caller; a form's body must not take one from those who read."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match or none: a partial one would answer 405."""
        match, child = super().matches(scope)
        if match is not Match.FULL or (scope["path"] == "/" and not accepts_html(scope)):
            return Match.NONE, {}
        return match, child

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                check_url(request.scope)
                visit = request.scope["entrepot.visit"] = await begin_visit(request)
                if not self.takes_turns or request.method == "POST":  # a body may come slowly
                    return await handle(request)
                async with visit.registry.readers.turn(visit.cost_key):
                    return await handle(request)
            except ClientGone:
                return Response(status_code=400)
            except RequestValidationError as error:
                fields = ", ".join(sorted({str(fault["loc"][-1]) for fault in error.errors()[:5]}))
                return await error_page(request, InvalidInput(f"invalid value of {fields}"))
            except EntrepotError as error:
                return await error_page(request, error)

        return answer


class UnqueuedPageRoute(PageRoute):
    """Routes of pages that wait for others than the catalogue, and bound by themselves how many do so."""

    takes_turns = False


class Visit(RequestContext):
    """One page's request: who asks, by which session, and what they may see."""

    def __init__(self, registry: Registry, caller: Caller, request: Request, session: PageSession | None) -> None:
        super().__init__(registry, caller, address_of(request.scope))
        self.request, self.session = request, session
        self.site: Site = request.app.state.site
        self.paths = VisiblePaths(())

    @property
    def is_administrator(self) -> bool:
        """Return whether the caller administers everything."""
        return bool(self.account) and is_administrator(self.registry.access.store.policy, self.caller)

    def may_change(self, action: Action, name: str) -> bool:
        """Return whether the visitor has a button for an action on a name: a session, the right, and a registry that takes it."""
        return self.session is not None and not self.catalog.settings.read_only and self.may(action, name)

    def may_restore(self, repository: str) -> bool:
        """Return whether the visitor has buttons that restore versions of a repository."""
        return self.may_change("push", repository) and self.may("delete", repository)

    def may_push_somewhere(self) -> bool:
        """Return whether any rule, and the session's scope, let the visitor push at all."""

        def pushes(grant: Grant) -> bool:
            return "push" in grant.actions or "admin" in grant.actions

        caller = self.caller
        by_rule = any(pushes(rule.grant) for rule in self.registry.access.store.policy.rules_for(caller.account))
        return by_rule and (caller.grants is None or any(map(pushes, caller.grants)))

    @property
    def form_id(self) -> str:
        """Return the id that this visitor's forms are made for, empty where there is none yet."""
        return self.site.sessions.form_id(self.request.scope, self.session)

    def recent(self) -> RecentVersions:
        """Return what was made last; one query where something was committed since it was asked before."""
        catalog = self.catalog
        return catalog.browse.recent_versions.read(state=catalog.serving.state, drops=catalog.snapshots.drops)

    def snapshot_of(self, path: VisiblePath, version: int | None = None) -> Snapshot:
        """Return the version that a path serves, or with the right to its history another one; raise NameUnknown."""
        if version is not None and version != path.version:
            self.check_history(path)
        try:
            return self.catalog.snapshots.get(path.repository, path.version if version is None else version)
        except NotFound:  # its message names the repository, which the caller may not know
            raise NameUnknown(f"{path.name} has no such content") from None

    def check_history(self, path: VisiblePath) -> None:
        """Raise NameUnknown unless the caller may know the repository's versions, in the words for one that does not exist."""
        if not path.has_history:
            raise NameUnknown(f"no versions of {path.name} here, or you may not see them")

    async def respond(
        self,
        template: str,
        read: Callable[["Visit"], _T],
        *,
        block: str = "",
        status: int = 200,
        variables: Mapping[str, object] | None = None,
    ) -> Response:
        """Return a page: `read` gives its view model on a thread, a template or JSON renders it.

        `block` is the part of the template that a script asks for alone; `variables` are for the template only.
        """
        self.paths = await read_visible_paths(self)
        return await self.threads.run(self._render, template, read, block, status, variables or {})

    def _render(
        self,
        template: str,
        read: Callable[["Visit"], BaseModel],
        block: str,
        status: int,
        variables: Mapping[str, object],
    ) -> Response:
        model = read(self)
        headers, media_type = self.request.headers, HTML
        if is_json(self.request.scope):
            body, media_type = model.model_dump_json(indent=1) + "\n", JSON
        else:
            is_part = headers.get("hx-request") == "true" and headers.get("hx-target", "").endswith(f"#{block}")
            body = self.render(template, self.variables(page=model, **variables), block if block and is_part else "")
        known = headers.get("if-none-match", "")
        return page_response(
            body, media_type=media_type, status=status, is_private=bool(self.account), if_none_match=known
        )

    def render(self, template: str, variables: Mapping[str, Any], block: str = "") -> str:
        """Return a template, or one block of it, as HTML; on a thread."""
        return self.site.renderer.render(template, block, variables)

    def variables(self, **more: object) -> Mapping[str, Any]:
        """Return what every template uses, and more."""
        policy = self.registry.access.store.policy
        scope = self.request.scope
        path, query = scope["path"], scope["query_string"].decode("latin-1")
        return {
            "account": self.account,
            "is_administrator": self.is_administrator,
            "has_session": self.session is not None,
            "form_token": form_token(policy.keys[-1], self.session.id) if self.session else "",
            "now": self.registry.now(),
            "here": f"{path}?{query}" if query else path,
            "section": path.strip("/").partition("/")[0].removesuffix(".json"),
            **more,
        }


def is_json(scope: Scope) -> bool:
    """Return whether a page is asked for as JSON, which the first part of its path says. Pure."""
    path: str = scope["path"]
    return path.strip("/").partition("/")[0].endswith(".json")


async def begin_visit(request: Request) -> Visit:
    """Return who asks for a page, counting the request; raise Unauthorized or TooManyRequests.

    A header or certificate goes before the session's cookie. One that no longer holds is none.
    """
    registry, scope = registry_of(request), request.scope
    site: Site = request.app.state.site
    await registry.find_distribution("")  # so that changes by other processes are known
    caller, session = await registry.access.identify(scope), None
    address = registry.cost_key(caller, scope)
    may_have_session = not caller.account and find_header(scope, b"authorization") is None
    is_costly = may_have_session and site.sessions.is_costly(scope)
    if is_costly:  # cookies that anybody makes up are paid for before they are checked
        registry.rate.spend(address)
    if may_have_session:
        session = site.sessions.read(scope, registry.access.store.policy, registry.now())
        caller = session.caller if session else caller
    if is_costly and session:
        registry.rate.give_back(address)
    if session or not is_costly:
        registry.rate.spend(registry.cost_key(caller, scope))
    exchange_of(scope).account = caller.account
    return Visit(registry, caller, request, session)


async def error_page(request: Request, error: EntrepotError) -> Response:
    """Return the page of an error, with the same words for what does not exist and for what the caller may not see."""
    scope = request.scope
    status, code = row_of(type(error))
    visit: Visit | None = scope.get("entrepot.visit")
    if is_json(scope) or visit is None:
        return fastapi_error_response(error, (b"www-authenticate", BASIC))
    is_hidden, is_login = status in {401, 403, 404}, isinstance(error, LoginNeeded)
    variables = visit.variables(
        status=404 if is_login else status,
        code=code,
        message=public_message(error),
        is_hidden=is_hidden,
    )
    body = await visit.threads.run(visit.render, "error.html", variables)
    response = page_response(body, status=404 if is_login else status, is_private=True)
    if (wait := getattr(error, "retry_after", None)) is not None:
        response.headers["retry-after"] = str(max(1, round(wait)))
    return response


async def _depend_on_visit(request: Request) -> Visit:
    visit: Visit = request.scope["entrepot.visit"]
    return visit


CurrentVisit = Annotated[Visit, Depends(_depend_on_visit)]
"""The visit, as a page's route takes it."""
