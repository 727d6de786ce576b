"""What a 401 says: where to get a token, and for what. Source: RFC 6750 section 3, RFC 7617, distribution's token form."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.types import Scope as Asgi

from catalog.access_policy import Action
from catalog.bearer import SERVICE, Scope
from catalog.settings import Settings
from registry_api.messages import find_header

BASIC = 'Basic realm="entrepot", charset="UTF-8"'
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_ASKED_FOR: dict[Action, tuple[str, ...]] = {"pull": ("pull",), "push": ("pull", "push"), "delete": ("delete",)}


def base_url(settings: Settings, scope: Asgi) -> str:
    """The address by which the client reaches us: the setting, else what the request says."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = (find_header(scope, b"host") or b"").decode("latin-1")
    return f"{scope.get('scheme', 'http')}://{host if _HOST.fullmatch(host) else settings.listen}"


def is_public_url(text: str) -> bool:
    """Whether a text can be the address that clients reach us by."""
    parts = urlsplit(text)
    return parts.scheme in {"http", "https"} and bool(_HOST.fullmatch(parts.netloc)) and not parts.query


def scopes_for(action: Action, name: str, mounts_from: str | None = None) -> Sequence[Scope]:
    """What a token must be good for; a mount needs a second repository."""
    if not name:
        return ()
    found = [Scope("repository", name, _ASKED_FOR[action])]
    if mounts_from:
        found.append(Scope("repository", mounts_from, ("pull",)))
    return found


def challenge(settings: Settings, scope: Asgi, scopes: Sequence[Scope] = (), *, error: str = "") -> str:
    """The value of WWW-Authenticate; `error` is `invalid_token` or `insufficient_scope` for a token that will not do."""
    if settings.auth == "basic":
        return BASIC
    fields = {"realm": f"{base_url(settings, scope)}/token", "service": SERVICE}
    if scopes:
        fields["scope"] = " ".join(map(str, scopes))
    if error:
        fields["error"] = error
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())
