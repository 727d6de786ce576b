"""Versions that a request makes, in the name of its user."""

from collections.abc import Callable

from catalog.versions.changes import Change, Commit, CommitResult, TagsStay
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest


def _nothing(_repository: str) -> None:
    """Prepare nothing."""


async def commit_changes(
    registry: Registry,
    request: RoutedRequest,
    operation: str,
    changes: tuple[Change, ...],
    prepare: Callable[[str], None] = _nothing,
) -> CommitResult:
    """Make one version of the request's repository, in the name of its user. `prepare` is called with the repository before, on
    the same thread."""
    immutable = registry.catalog.distributions.immutable_tags(request.repository)
    sparse = registry.catalog.settings.is_sparse(request.repository)
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

    def work() -> CommitResult:
        prepare(request.repository)
        return registry.catalog.commits.commit(commit)

    return await registry.threads.commit(work)
