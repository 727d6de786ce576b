"""The target of a request: what its path leads to, and the handler that responds."""

from typing import Protocol

from starlette.types import Scope

from catalog.access.policy import Action, Caller
from catalog.distributions.records import Distribution
from oci.errors import Denied
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


def check_changeable(
    registry: Registry, action: Action, name: str, distribution: Distribution | None, cache: Distribution | None = None
) -> None:
    """Raise Denied for a change to a path that serves one fixed version, belongs to a cache, or serves nothing.

    A first push by others may have made repository and path since `distribution` was looked up: then the path is looked up again.
    """
    if distribution is not None and distribution.version is not None:
        raise Denied(
            f"{distribution.path} serves version {distribution.version} of its repository and nothing else; {action} to a path "
            "that serves the latest version"
        )
    if action == "push" and cache is not None:
        raise Denied(f"{cache.path} is a cache of {cache.remote}, which takes no pushes; push elsewhere")
    if distribution is not None and distribution.remote:
        raise Denied(f"{name} is a cache of {distribution.remote}; only what lies below it can be changed")
    if (
        distribution is None
        and registry.catalog.snapshots.has(name)
        and not _serves(registry.catalog.distributions.find(name), name)
    ):
        raise Denied(f"no path serves the repository {name}; create one with `entrepot distribution create`")


def _serves(found: Distribution | None, name: str) -> bool:
    """Return whether a path is a repository's own, and shows what is pushed there."""
    return found is not None and found.repository == name and found.version is None and not found.remote
