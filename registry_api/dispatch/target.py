"""The target of a request: what its path leads to, and the handler that responds."""

from typing import Protocol

from starlette.types import Scope

from catalog.access.policy import Action, Caller
from registry_api.auth.access_controller import address_of
from registry_api.context import Registry
from registry_api.dispatch.routes import Handler


class PathTarget(Protocol):
    """The target of a path; there is one class for each kind."""

    __slots__ = ()

    repository: str
    """The repository that the path serves; the path itself where it serves none yet."""

    handler: Handler
    """Responds to the request, once its right is checked."""

    def check(self, caller: Caller, scope: Scope) -> None:
        """Raise Unauthorized or Denied when the caller may not send this request; no I/O."""
        ...


def check_right(registry: Registry, action: Action, caller: Caller, path: str, scope: Scope, *, public: bool) -> None:
    """Raise Unauthorized or Denied when no rule allows the action on the path."""
    if not (public and action == "pull"):
        registry.access.check(caller, action, path, public=public, address=address_of(scope))
