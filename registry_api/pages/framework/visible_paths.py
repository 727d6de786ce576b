"""Visible paths: the names under which a caller sees content. Whether they may is asked of the rules that pulls ask."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from catalog.distributions.records import Distribution
from catalog.search.terms import SearchScope
from oci.errors import NameUnknown
from registry_api.management.dependencies import RequestContext


@dataclass(frozen=True, slots=True)
class VisiblePath:
    """A path that serves content, or a repository by its own name; `version` None is the latest.

    `has_history`: the caller may know the repository and its versions, as under /api/v1; else only what the path serves.
    """

    name: str
    repository: str
    version: int | None = None
    is_private: bool = False
    is_served: bool = True
    has_history: bool = False
    description: str = ""


class VisiblePaths:
    """All that one caller may see, by name."""

    def __init__(self, paths: Sequence[VisiblePath]) -> None:
        self.all = paths

    @cached_property
    def by_name(self) -> dict[str, VisiblePath]:
        """Return them by name."""
        return {place.name: place for place in self.all}

    @cached_property
    def by_repository(self) -> dict[str, list[VisiblePath]]:
        """Return them by the repository that they show, that of its own name first."""
        found: dict[str, list[VisiblePath]] = {}
        for place in sorted(self.all, key=lambda place: (place.name != place.repository, place.name)):
            found.setdefault(place.repository, []).append(place)
        return found

    @cached_property
    def scopes(self) -> list[SearchScope]:
        """Return the version of each repository that they show: that of its own path where that is among them."""
        return [SearchScope(repository, shown[0].version) for repository, shown in self.by_repository.items()]

    @cached_property
    def names(self) -> list[str]:
        """Return their names in ASCII order."""
        return [place.name for place in self.all]

    def find(self, name: str) -> VisiblePath:
        """Return a place; raise NameUnknown, for one that the caller may not see too."""
        place = self.by_name.get(name)
        if place is None:
            raise NameUnknown(f"no repository {name[:300]!r} here, or you may not see it")
        return place

    def after(self, last: str, text: str = "") -> Iterator[VisiblePath]:
        """Give those whose names come after `last` and hold a text."""
        start = bisect_left(self.names, f"{last}\0") if last else 0
        return (place for place in self.all[start:] if text in place.name)


async def read_visible_paths(context: RequestContext) -> VisiblePaths:
    """Return what the caller may see, from memory as long as versions, distributions and rules are the same."""

    async def make() -> VisiblePaths:
        return await context.threads.make(list_visible_paths, context)

    registry = context.registry
    state = await registry.state(context.caller)
    return await registry.responses.get(
        ("visible paths", context.caller), state, context.cost_key, make, lambda paths: 400 * len(paths.all)
    )


def list_visible_paths(context: RequestContext) -> VisiblePaths:
    """Return the paths that the caller may pull from, and the repositories that rules let them; no I/O but for memory's own."""
    distributions = context.catalog.distributions
    found: dict[str, VisiblePath] = {}
    for distribution in distributions.all():
        if not distribution.remote and context.registry.access.may_pull(context.caller, distribution):
            found[distribution.path] = _place(context, distribution)
    if context.account or context.registry.access.store.policy.rules_for(""):
        for name in context.catalog.snapshots.names():
            if name not in found and distributions.find(name) is None and context.may("pull", name):
                found[name] = VisiblePath(name, name, is_private=True, is_served=False, has_history=True)
    return VisiblePaths([found[name] for name in sorted(found)])


def _place(context: RequestContext, distribution: Distribution) -> VisiblePath:
    return VisiblePath(
        distribution.path,
        distribution.repository,
        distribution.version,
        distribution.private,
        has_history=context.may("pull", distribution.repository),
        description=distribution.description,
    )
