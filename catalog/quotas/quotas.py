"""Quotas: how many bytes and tags the repositories of a namespace may hold in their latest versions.

Each blob counts once for each repository that has it, whoever else has it too: what one team does changes nothing for another.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from catalog.lake.connection import Lake
from catalog.lake.first_use import ReadAtFirstUse
from catalog.lake.insertion import Row
from catalog.path_patterns import matches, parse_path_pattern
from catalog.quotas.totals import Total, Totals
from oci.errors import InvalidInput, QuotaExceeded, QuotaUnknown


@dataclass(frozen=True, slots=True)
class Quota:
    """What the repositories that fit `pattern` may hold together; None is no limit. Above a `warn_…` pushes are warned."""

    pattern: str
    max_bytes: int | None = None
    max_tags: int | None = None
    warn_bytes: int | None = None
    warn_tags: int | None = None

    def limits(self) -> Iterator[tuple[str, int | None, int | None, Callable[[Total], int]]]:
        """Yield unit, hard limit, soft limit, and how to read the unit from a total."""
        yield "bytes", self.max_bytes, self.warn_bytes, lambda total: total.bytes
        yield "tags", self.max_tags, self.warn_tags, lambda total: total.tags


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """A quota, and what is used of it."""

    quota: Quota
    used: Total


def check_quota(quota: Quota) -> Quota:
    """Raise InvalidInput for one that says nothing, or whose soft limit is above the hard one."""
    parse_path_pattern(quota.pattern)
    said = False
    for unit, hard, soft, _ in quota.limits():
        said = said or hard is not None or soft is not None
        if min(hard or 0, soft or 0) < 0:
            raise InvalidInput(f"a limit of {unit} cannot be below 0")
        if hard is not None and soft is not None and soft > hard:
            raise InvalidInput(f"the soft limit of {unit}, {soft}, is above the hard one, {hard}")
    if not said:
        raise InvalidInput(f"the quota of {quota.pattern} has no limit; give one of bytes or of tags")
    return quota


def judge_growth(quota: Quota, used: Total, change: Total) -> str:
    """Return why a change exceeds a quota; empty if it does not. A change that adds nothing is never refused."""
    for unit, hard, _, read in quota.limits():
        more = read(change)
        if hard is not None and more > 0 and read(used) + more > hard:
            return (
                f"{quota.pattern} may hold {hard} {unit}: {read(used)} are used, and {more} more do not fit; "
                "delete tags or manifests that are not needed, or have the quota raised"
            )
    return ""


def judge_warning(quota: Quota, used: Total) -> str:
    """Return the warning that a soft limit is exceeded; empty for none."""
    for unit, hard, soft, read in quota.limits():
        if soft is not None and read(used) > soft:
            allowed = f", and {hard} are allowed" if hard is not None else ""
            return f"{quota.pattern} holds {read(used)} {unit}; above {soft} it is time to clean up{allowed}"
    return ""


class Quotas(ReadAtFirstUse):
    """All quotas and what is used of them, in memory; usable from any thread."""

    _quotas: Mapping[str, Quota]

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._guard = threading.RLock()
        self.totals = Totals()

    def reload(self) -> None:
        """Read them again, in one query; what is written meanwhile waits, since it is newer."""
        with self._guard:
            rows = self._lake.read(
                "SELECT pattern, max_bytes, max_tags, warn_bytes, warn_tags FROM quotas ORDER BY pattern"
            )
            self._take({str(row[0]): Quota(*row) for row in rows})  # type: ignore[arg-type]  # the columns are chosen for it

    def _take(self, quotas: Mapping[str, Quota]) -> None:
        if quotas.keys() != vars(self).get("_quotas", {}).keys():
            self.totals.watch(quotas)
        self._quotas = quotas

    def put(self, quota: Quota, *, actor: str) -> None:
        """Write a quota, in place of the one of its pattern; durable on return."""
        check_quota(quota)
        self.ensure_read()
        self._switch(quota.pattern, [quota], actor)

    def delete(self, pattern: str, *, actor: str) -> None:
        """Delete a quota; raise QuotaUnknown."""
        self.get(pattern)
        self._switch(pattern, [], actor)

    def _switch(self, pattern: str, made: Sequence[Quota], actor: str) -> None:
        rows: list[Row] = [(one.pattern, one.max_bytes, one.max_tags, one.warn_bytes, one.warn_tags) for one in made]
        with self._lake.write() as writer:
            writer.delete("quotas", "pattern", pattern)
            writer.insert("quotas", rows)
            writer.describe(actor, f"quota of {pattern}", quotas=True)
        self.reload()

    def get(self, pattern: str) -> QuotaUse:
        """Return the quota of a pattern; raise QuotaUnknown."""
        quota = self._quotas.get(pattern)
        if quota is None:
            raise QuotaUnknown(f"no quota of {pattern[:80]!r} here")
        return QuotaUse(quota, self.totals.sum(pattern))

    def all(self) -> list[QuotaUse]:
        """Return every quota by pattern."""
        return [QuotaUse(quota, self.totals.sum(pattern)) for pattern, quota in self._quotas.items()]

    def covering(self, name: str) -> list[Quota]:
        """Return the quotas that a repository counts for; no I/O."""
        return [quota for pattern, quota in self._quotas.items() if matches(pattern, name)] if self._quotas else []

    def check_room(
        self, name: str, *, size: int = 0, tags: int = 0, under_way: Callable[[str], int] | None = None
    ) -> None:
        """Raise QuotaExceeded when so much more, `size` in bytes, does not fit into a quota of a repository.

        `under_way` tells how many bytes of uploads to repositories that fit a pattern are open.
        """
        for quota in self.covering(name):
            used = self.totals.sum(quota.pattern)
            if under_way is not None and quota.max_bytes is not None:
                used = used.plus(Total(0, under_way(quota.pattern)))
            reason = judge_growth(quota, used, Total(tags, size))
            if reason:
                raise QuotaExceeded(reason)

    def warnings(self, name: str) -> list[tuple[str, str]]:
        """Return the exceeded soft limits of a repository's quotas: pattern and warning; no I/O."""
        found = [(quota.pattern, judge_warning(quota, self.totals.sum(quota.pattern))) for quota in self.covering(name)]
        return [(pattern, said) for pattern, said in found if said]

    def begin(self) -> "QuotaCheck":
        """Check the commits of one transaction, one on top of the other."""
        return QuotaCheck(self)


class QuotaCheck:
    """What the commits of one transaction come to; used under the write lock, when memory knows all that was committed."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas
        self._changes: dict[str, Total] = {}
        self._made: dict[str, Total] = {}

    def reserve(self, name: str, total: Total) -> None:
        """Reserve what a repository is to hold; raise QuotaExceeded, and count nothing, if that does not fit."""
        change = total.minus(self._made.get(name, self._quotas.totals.of(name)))
        covering = self._quotas.covering(name)
        for quota in covering:
            used = self._quotas.totals.sum(quota.pattern).plus(self._changes.get(quota.pattern, Total()))
            reason = judge_growth(quota, used, change)
            if reason:
                raise QuotaExceeded(reason)
        self._made[name] = total
        for quota in covering:
            self._changes[quota.pattern] = self._changes.get(quota.pattern, Total()).plus(change)

    @property
    def made(self) -> Mapping[str, Total]:
        """Return what repositories hold after the transaction."""
        return self._made
