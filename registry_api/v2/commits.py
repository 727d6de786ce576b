"""Versions that a request makes, in the name of its user."""

from collections.abc import Callable

from catalog.versions.changes import Change, CommitResult
from registry_api.context import Registry
from registry_api.http.messages import RoutedRequest
from registry_api.path_changes import make_commit


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
    commit = make_commit(registry, request.repository, request.user, operation, changes)

    def work() -> CommitResult:
        prepare(request.repository)
        return registry.catalog.commits.commit(commit)

    return await registry.threads.commit(work)
