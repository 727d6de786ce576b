"""Logging in and out on the pages; wrong logins are slowed down as everywhere."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from catalog.access.policy import Policy
from oci.errors import Denied, EntrepotError, InvalidInput, TooManyRequests, Unauthorized
from registry_api.auth.access_controller import Credentials
from registry_api.context import Registry
from registry_api.http.bodies import read_whole
from registry_api.http.messages import announced_length
from registry_api.pages.framework.formats import is_local_path
from registry_api.pages.framework.responses import page_response, redirect_response
from registry_api.pages.framework.sessions import form_token, is_own_form, make_form_id
from registry_api.pages.framework.visits import CurrentVisit, PageRoute, Visit
from registry_api.token_endpoint import renew_key

_LARGEST_FORM = 16 * 1024

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
async def show_login(visit: CurrentVisit, next: str = "/") -> Response:  # noqa: A002  # the parameter's name in the URL
    """Show the form to log in by."""
    return await _login_page(visit, next)


@router.post("/login")
async def post_login(request: Request, visit: CurrentVisit) -> Response:
    """Begin a session, in the place of the one before, and go where the visitor came from."""
    fields = await read_own_form(request, visit)
    access, scope = visit.registry.access, request.scope
    credentials = Credentials("basic", fields.get("username", "").strip(), fields.get("password", ""))
    try:
        if not credentials.username or not credentials.secret:
            raise Unauthorized("enter a user name and a password")
        subject = await access.log_in(credentials, visit.address)
    except TooManyRequests as error:
        return await _login_page(visit, fields.get("next", ""), error, status=429)
    except Unauthorized as error:
        return await _login_page(visit, fields.get("next", ""), error, status=401)
    if visit.session is not None:
        await visit.threads.commit(visit.site.sessions.end, visit.session, visit.registry.now())
    response = redirect_response(_checked(fields.get("next", "")))
    policy = await _policy_with_key(visit.registry)
    visit.site.sessions.begin(response, scope, policy, subject, visit.registry.now())
    return response


@router.post("/logout")
async def post_logout(request: Request, visit: CurrentVisit) -> Response:
    """End the session everywhere."""
    await read_own_form(request, visit)
    if visit.session is not None:
        await visit.threads.commit(visit.site.sessions.end, visit.session, visit.registry.now())
    response = redirect_response("/")
    visit.site.sessions.forget(response, request.scope)
    return response


async def read_own_form(request: Request, visit: Visit) -> Mapping[str, str]:
    """Return a form's fields; raise Denied unless one of our own pages made it for this visitor, InvalidInput for no form."""
    raw = await read_whole(request.receive, limit=_LARGEST_FORM, announced=announced_length(request.scope))
    try:
        fields = {
            name: values[0]
            for name, values in parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=20).items()
        }
    except ValueError:
        raise InvalidInput("invalid form: expected UTF-8 and at most 20 fields") from None
    if "\0" in "".join(fields.values()):
        raise InvalidInput("the form holds a NUL; send it without")
    if not is_own_form(visit.registry.access.store.policy, visit.form_id, fields.get("form_token", "")):
        raise Denied("this form is too old, or was not made by this site; open its page again")
    return fields


async def _login_page(visit: Visit, next: str, error: EntrepotError | None = None, *, status: int = 200) -> Response:  # noqa: A002
    form_id = visit.form_id or make_form_id()
    key = (await _policy_with_key(visit.registry)).keys[-1]
    variables = visit.variables(
        next=_checked(next), login_token=form_token(key, form_id), message=error.message if error else ""
    )
    body = await visit.threads.run(visit.render, "login.html", variables)
    response = page_response(body, status=status, is_private=True)
    if visit.session is None:
        visit.site.sessions.begin_form(response, visit.request.scope, form_id)
    if error is not None and (wait := getattr(error, "retry_after", None)) is not None:
        response.headers["retry-after"] = str(max(1, round(wait)))
    return response


def _checked(path: str) -> str:
    return path if is_local_path(path) and not path.startswith(("/login", "/logout")) else "/"


async def _policy_with_key(registry: Registry) -> Policy:
    """Return the policy with a key that signs; a first start makes it, so that this rarely writes."""
    policy = registry.access.store.policy
    return policy if policy.keys else await registry.threads.run(renew_key, registry.access.store, registry.now())
