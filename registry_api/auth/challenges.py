"""What a 401 says: where to get a token, and for what. Source: RFC 6750 section 3, RFC 7617, distribution's token form."""

from collections.abc import Sequence

from catalog.access.bearer_tokens import SERVICE, Scope
from catalog.access.policy import Action

BASIC = 'Basic realm="entrepot", charset="UTF-8"'
_ASKED_FOR: dict[Action, tuple[str, ...]] = {"pull": ("pull",), "push": ("pull", "push"), "delete": ("delete",)}


def scopes_for(action: Action, name: str, mounts_from: str | None = None) -> Sequence[Scope]:
    """Return what a token must be good for; a mount needs a second repository."""
    if not name:
        return ()
    found = [Scope("repository", name, _ASKED_FOR[action])]
    if mounts_from:
        found.append(Scope("repository", mounts_from, ("pull",)))
    return found


def challenge(base: str | None, scopes: Sequence[Scope] = (), *, error: str = "") -> str:
    """The value of WWW-Authenticate; `error` is `invalid_token` or `insufficient_scope` for a token that will not do.

    `base` is the address by which the client reaches us. Where that cannot be believed, or tokens are not given out, it is None,
    and the login is asked for at the place that the request was sent to.
    """
    if base is None:
        return BASIC
    fields = {"realm": f"{base}/token", "service": SERVICE}
    if scopes:
        fields["scope"] = " ".join(map(str, scopes))
    if error:
        fields["error"] = error
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())
