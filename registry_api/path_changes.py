"""Changes of what a path serves, in a user's name: whether the path takes them, and the commit that makes them."""

from catalog.access.policy import Action
from catalog.distributions.records import Distribution
from catalog.versions.changes import Change, Commit, TagsStay
from oci.errors import Denied
from registry_api.context import Registry


def make_commit(registry: Registry, repository: str, user: str, operation: str, changes: tuple[Change, ...]) -> Commit:
    """Return the commit of a user's changes; immutable tags of the repository's paths stay."""
    immutable = registry.catalog.distributions.immutable_tags(repository)
    sparse = registry.catalog.settings.is_sparse(repository)
    return Commit(
        repository=repository,
        operation=operation,
        changes=changes,
        operation_id=registry.make_id(),
        actor=user,
        created_at=registry.now(),
        allow_sparse=sparse,
        allow_absent=sparse,
        serve=registry.catalog.settings.new_repositories,
        requirements=(TagsStay(immutable),) if immutable else (),
    )


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
