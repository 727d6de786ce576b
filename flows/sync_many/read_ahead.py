"""Reads what repositories of a chunk hold here ahead of their syncs: two questions for many, where each would ask two."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from catalog.catalog import Catalog
from flows.sync.companions import Children

MAX_REPOSITORIES = 250
MAX_TAGS = 10_000
"""Tags of the repositories that one question reads; more only where one repository has them."""


def plan_groups(names: Iterable[str], tags_of: Callable[[str], int]) -> list[tuple[str, ...]]:
    """Return the groups that are read at once, in the order of the names; pure."""
    groups: list[list[str]] = []
    tags = 0
    for name in names:
        if not groups or tags + tags_of(name) > MAX_TAGS or len(groups[-1]) == MAX_REPOSITORIES:
            groups.append([])
            tags = 0
        groups[-1].append(name)
        tags += tags_of(name)
    return [tuple(group) for group in groups]


class ReadAhead:
    """The latest versions of some repositories, read when the first of a group is asked for. Use it within one event loop."""

    def __init__(self, catalog: Catalog, names: Iterable[str]) -> None:
        self._catalog = catalog
        held = [name for name in names if catalog.snapshots.has(name)]
        groups = plan_groups(held, lambda name: catalog.quotas.totals.of(name).tags)
        self._group_of = {name: group for group in groups for name in group}
        self._reading: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._children: dict[str, tuple[int, Children]] = {}

    async def read(self, name: str) -> Mapping[int, Children]:
        """Have memory hold the latest version of a repository; return the parts of its manifests by the version's number.

        They are returned once. Raises CatalogUnusable.
        """
        group = self._group_of.pop(name, None)
        if group is None:
            return {}
        if group not in self._reading:
            self._reading[group] = asyncio.create_task(asyncio.to_thread(self._read, group))
        await self._reading[group]
        number, children = self._children.pop(name, (0, {}))
        return {number: children} if number else {}

    def _read(self, group: tuple[str, ...]) -> None:
        numbers = self._catalog.snapshots.preload(group)
        children = self._catalog.history.children_of_many(list(numbers))
        self._children |= {name: (number, children.get(name, {})) for name, number in numbers.items()}
