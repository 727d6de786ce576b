"""Replication: which paths of another installation are to be served here, and which of ours that were are not any longer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from catalog.distributions import Distribution
from catalog.filters import select_names
from oci.errors import Conflict
from oci.remote.discovery import Served


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """What upstream serves and is wanted, and the paths here that it does not serve any longer."""

    wanted: tuple[Served, ...]
    gone: tuple[str, ...]
    not_selected: tuple[str, ...] = ()


def plan_replicas(
    here: Iterable[Distribution],
    served: Iterable[Served],
    upstream: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    labels: Sequence[str] = (),
    keep_gone: bool = False,
) -> ReplicaPlan:
    """Compare what an upstream serves with its replicas here. `labels` are those that a path must have, `KEY` or `KEY=VALUE`.

    Raises Conflict when a wanted path serves something here that is no replica of that upstream.
    """
    served = list(served)
    selected = set(select_names((one.path for one in served), include=include, exclude=exclude))
    wanted = tuple(one for one in served if one.path in selected and has_labels(one.labels, labels))
    by_path = {one.path: one for one in here}
    taken = [one.path for one in wanted if one.path in by_path and by_path[one.path].replica_of != upstream]
    if taken:
        raise Conflict(
            f"{len(taken)} path(s) here serve something else than replicas of {upstream}: {', '.join(taken[:5])}; "
            "delete these distributions, or exclude the paths"
        )
    known = {one.path for one in served}
    ours = [path for path, one in by_path.items() if one.replica_of == upstream]
    gone = () if keep_gone else tuple(sorted(path for path in ours if path not in known))
    return ReplicaPlan(wanted, gone, tuple(sorted(known - {one.path for one in wanted})))


def mark_of(served: Served, policy: str, version: int) -> str:
    """What is remembered of a replication: which content, copied how far, became which version; empty where that is not told."""
    return f"{served.content} {policy} {version}" if served.content else ""


def current_version(here: Distribution | None, served: Served, policy: str) -> int | None:
    """The version here that holds what a path serves upstream; None where it has to be synced to know that."""
    if here is None or here.version is None or not here.replica_mark:
        return None
    return here.version if here.replica_mark == mark_of(served, policy, here.version) else None


def has_labels(labels: Mapping[str, str], wanted: Iterable[str]) -> bool:
    """Whether all that is wanted is there: `KEY` with any value, `KEY=VALUE` with that one."""
    for text in wanted:
        key, equals, value = text.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def switch(
    here: Mapping[str, Distribution],
    wanted: Iterable[tuple[Served, int]],
    upstream: str,
    now: datetime,
    policy: str = "immediate",
) -> list[Distribution]:
    """The distributions that serve each wanted path's version here; those that serve it already are left out.

    One of which only the mark is new is not updated for its readers, and keeps its time.
    """
    switched: list[Distribution] = []
    for served, version in wanted:
        old = here.get(served.path, Distribution(served.path, served.path, now, now))
        new = replace(
            old,
            version=version,
            private=served.private,
            description=served.description,
            labels=dict(served.labels),
            replica_of=upstream,
        )
        marked = replace(new, replica_mark=mark_of(served, policy, version))
        if marked != old:
            switched.append(marked if new == old else replace(marked, updated_at=now))
    return switched
