"""Logging in and out on the pages; wrong logins are slowed down as everywhere."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response

from catalog.access.bearer_tokens import Subject
from catalog.access.policy import Policy
from oci.errors import EntrepotError, TooManyRequests, Unauthorized
from registry_api.auth.access_controller import Credentials
from registry_api.context import Registry
from registry_api.http.messages import find_header
from registry_api.pages.framework.formats import is_local_path, link_to
from registry_api.pages.framework.own_forms import read_own_form
from registry_api.pages.framework.responses import page_response, redirect_response
from registry_api.pages.framework.sessions import form_token, make_form_id
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.token_endpoint import renew_key

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
async def show_login(visit: CurrentVisit, next: str = "/") -> Response:  # noqa: A002  # the parameter's name in the URL
    """Show the form to log in by."""
    return await show_login_page(visit, next)


@router.post("/login")
async def post_login(request: Request, visit: CurrentVisit) -> Response:
    """Begin a session, in the place of the one before, and go where the visitor came from."""
    form = await read_own_form(request, visit)
    access = visit.registry.access
    credentials = Credentials("basic", form.get("username").strip(), form.get("password"))
    try:
        if not credentials.username or not credentials.secret:
            raise Unauthorized("enter a user name and a password")
        subject = await access.log_in(credentials, visit.address)
    except TooManyRequests as error:
        return await show_login_page(visit, form.get("next"), error, status=429)
    except Unauthorized as error:
        return await show_login_page(visit, form.get("next"), error, status=401)
    return await begin_session(visit, subject, form.get("next"))


@router.post("/logout")
async def post_logout(request: Request, visit: CurrentVisit) -> Response:
    """End the session everywhere."""
    await read_own_form(request, visit)
    if visit.session is not None:
        await visit.threads.commit(visit.site.sessions.end, visit.session, visit.registry.now())
    response = redirect_response("/")
    visit.site.sessions.forget(response, request.scope)
    return response


async def begin_session(visit: Visit, subject: Subject, next: str) -> Response:  # noqa: A002
    """Return a redirect with a new session, in the place of the one before."""
    sessions, now = visit.site.sessions, visit.registry.now()
    if visit.session is not None:
        await visit.threads.commit(sessions.end, visit.session, now)
    response = redirect_response(checked_next(next))
    sessions.begin(response, visit.request.scope, await policy_with_key(visit.registry), subject, now)
    return response


async def show_login_page(
    visit: Visit,
    next: str,  # noqa: A002
    error: EntrepotError | None = None,
    *,
    status: int = 200,
) -> Response:
    """Return the form to log in by, with what went wrong if anything; `next` is where it leads."""
    form_id = visit.form_id or make_form_id()
    key = (await policy_with_key(visit.registry)).keys[-1]
    flow = visit.site.code_flow
    variables = visit.variables(
        next=checked_next(next),
        login_token=form_token(key, form_id),
        message=error.message if error else "",
        issuer=flow.host if flow else "",
        issuer_login=_issuer_login(visit, checked_next(next)) if flow else "",
    )
    body = await visit.threads.run(visit.render, "login.html", variables)
    response = page_response(body, status=status, is_private=True)
    if visit.session is None:
        visit.site.sessions.begin_form(response, visit.request.scope, form_id)
    if error is not None and (wait := getattr(error, "retry_after", None)) is not None:
        response.headers["retry-after"] = str(max(1, round(wait)))
    return response


def _issuer_login(visit: Visit, next: str) -> str:  # noqa: A002
    """Return the link that begins a login at the issuer, at our public address: its cookie must come back there."""
    public = visit.catalog.settings.public_url.rstrip("/")
    host = (find_header(visit.request.scope, b"host") or b"").decode("latin-1").lower()
    here = urlsplit(public).netloc.lower() == host
    return f"{'' if here else public}{link_to('login/oidc', query={'next': next})}"


def checked_next(path: str) -> str:
    """Return where a login leads: a page of ours, `/` for anything else. Pure."""
    return path if is_local_path(path) and not path.startswith(("/login", "/logout")) else "/"


async def policy_with_key(registry: Registry) -> Policy:
    """Return the policy with a key that signs; a first start makes it, so that this rarely writes."""
    policy = registry.access.store.policy
    return policy if policy.keys else await registry.threads.run(renew_key, registry.access.store, registry.now())
