"""The challenge of a 401: where to get a token, and with which scope.

Source: RFC 6750 section 3, RFC 7617, distribution's token specification.
"""

from collections.abc import Sequence

from catalog.access.bearer_tokens import SERVICE, Scope
from catalog.access.policy import Action

BASIC = 'Basic realm="entrepot", charset="UTF-8"'
_TOKEN_ACTIONS: dict[Action, tuple[str, ...]] = {"pull": ("pull",), "push": ("pull", "push"), "delete": ("delete",)}


def scopes_for(action: Action, name: str, mounts_from: str | None = None) -> Sequence[Scope]:
    """Return the scopes that a token needs; a mount needs a second repository."""
    if not name:
        return ()
    scopes = [Scope("repository", name, _TOKEN_ACTIONS[action])]
    if mounts_from:
        scopes.append(Scope("repository", mounts_from, ("pull",)))
    return scopes


def challenge(base: str | None, scopes: Sequence[Scope] = (), *, error: str = "") -> str:
    """Return the value of WWW-Authenticate; `error` is `invalid_token` or `insufficient_scope` for a refused token.

    `base` is the address by which the client reaches us. It is None where that cannot be trusted, or where no tokens are
    issued; the client then logs in at the address it used (HTTP Basic).
    """
    if base is None:
        return BASIC
    fields = {"realm": f"{base}/token", "service": SERVICE}
    if scopes:
        fields["scope"] = " ".join(map(str, scopes))
    if error:
        fields["error"] = error
    return "Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items())
