"""Versions that a request makes, in the name of its user."""

from fnmatch import fnmatchcase

from catalog.settings import Settings
from catalog.versions.changes import Change, Commit, CommitResult, TagsStay
from registry_api.context import Registry
from registry_api.http.messages import Request


def may_be_sparse(settings: Settings, repository: str) -> bool:
    """Return whether manifests may be pushed whose parts are not all there."""
    return any(fnmatchcase(repository, pattern) for pattern in settings.sparse_repositories)


async def commit_changes(
    registry: Registry, request: Request, operation: str, changes: tuple[Change, ...]
) -> CommitResult:
    """Make one version of the request's repository, in the name of its user."""
    immutable = registry.catalog.distributions.immutable_tags(request.repository)
    sparse = may_be_sparse(registry.catalog.settings, request.repository)
    commit = Commit(
        repository=request.repository,
        operation=operation,
        changes=changes,
        operation_id=registry.make_id(),
        actor=request.user,
        created_at=registry.now(),
        allow_sparse=sparse,
        allow_absent=sparse,
        serve=registry.catalog.settings.new_repositories,
        requirements=(TagsStay(immutable),) if immutable else (),
    )
    return await registry.threads.commit(registry.catalog.commits.commit, commit)
