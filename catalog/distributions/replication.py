"""Replication: which paths of another installation are to be served here, and which of ours that were are not any longer."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from catalog.distributions.records import Distribution, has_labels
from catalog.path_patterns import select_paths
from oci.errors import RequestError
from oci.remote.discovery.served import Discovery, Kind, Served

_FOUND_BY = re.compile(r"(entrepot|pulp|catalog):(\S*) ")
_NAMES: Mapping[str, str] = {
    "entrepot": "an Entrepôt",
    "pulp": "a Pulp",
    "catalog": "a plain registry",
    "": "an Entrepôt or a Pulp",
}


class PathTaken(RequestError):
    """A path that upstream serves has something of one's own here."""


class UpstreamChanged(RequestError):
    """Upstream answers as another kind of installation than at the last replication."""


@dataclass(frozen=True, slots=True)
class FoundBy:
    """How a list of paths was come by: which kind of API, and who asked (empty: an anonymous caller)."""

    kind: Kind
    identity: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.identity} "


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """What upstream serves and is wanted, the paths here that it does not serve any longer, and those of which that is not sure:
    `kept`, with the reason. Wanted paths that are `taken` serve something else here, and are left out."""

    wanted: tuple[Served, ...]
    gone: tuple[str, ...]
    not_selected: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)
    taken: tuple[str, ...] = ()


def plan_replicas(
    here: Iterable[Distribution],
    found: Discovery,
    upstream: str,
    *,
    identity: str = "",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    labels: Sequence[str] = (),
    keep_gone: bool = False,
    accept_change: bool = False,
    skip_taken: bool = False,
) -> ReplicaPlan:
    """Compare what an upstream lists with its replicas here. `labels` are those that a path must have, `KEY` or `KEY=VALUE`.

    A path goes only when the list that lacks it was come by as the one was that had it: by the same kind of API, asked by the
    same `identity`, without doubts, and not empty.
    Raises PathTaken when a wanted path serves something here that is no replica of that upstream, and is not to be skipped;
    UpstreamChanged, unless the change is accepted, when upstream is of another kind than at the last replication.
    """
    by_path = {one.path: one for one in here}
    ours = {path: one for path, one in by_path.items() if one.replica_of == upstream}
    if not accept_change:
        _check_kind(ours.values(), found.kind, upstream)
    known = {one.path for one in found.served}
    selected = set(select_paths(known, include=include, exclude=exclude))
    wanted = tuple(one for one in found.served if one.path in selected and has_labels(one.labels, labels))
    taken = [one.path for one in wanted if one.path in by_path and one.path not in ours]
    if taken and not skip_taken:
        raise PathTaken(
            f"{len(taken)} path(s) here serve something else than replicas of {upstream}: {', '.join(taken[:5])}; "
            "delete these distributions, or exclude the paths"
        )
    unlisted = [] if keep_gone else sorted(ours.keys() - known)
    kept = {path: _why_kept(ours[path], found, identity, accept_change=accept_change) for path in unlisted}
    return ReplicaPlan(
        tuple(one for one in wanted if one.path not in taken),
        tuple(path for path, reason in kept.items() if not reason),
        tuple(sorted(known - {one.path for one in wanted})),
        {path: reason for path, reason in kept.items() if reason},
        tuple(taken),
    )


def _check_kind(ours: Iterable[Distribution], kind: Kind, upstream: str) -> None:
    others = [before for one in ours if (before := _other_kind(one, kind)) is not None]
    if others:
        raise UpstreamChanged(
            f"{upstream} answers as {_NAMES[kind]}, and {len(others)} path(s) here were replicated from it as "
            f"{_NAMES[others[0]]}; nothing was changed. A proxy may hide its API: see that it answers. Where the "
            "change is meant, run it once with --accept-change"
        )


def _other_kind(here: Distribution, kind: Kind) -> str | None:
    """The kind that a replica was found by, where it is another one; empty for one that only is not this.

    Earlier releases have not recorded it, but only an Entrepôt tells what a path serves, and no catalog what is private.
    """
    match = _FOUND_BY.match(here.replica_mark)
    if match:
        return None if match[1] == kind else match[1]
    if here.replica_mark:
        return None if kind == "entrepot" else "entrepot"
    tells = here.private or here.description or here.labels
    return "" if tells and kind == "catalog" else None


def _why_kept(here: Distribution, found: Discovery, identity: str, *, accept_change: bool) -> str:
    """Return why a replica stays although upstream does not list it; empty where nothing speaks for it."""
    match = _FOUND_BY.match(here.replica_mark)
    was_seen_by = match[2] if match else None
    if not found.served:
        return "upstream lists nothing at all"
    if found.doubts:
        return f"upstream's list may lack it: {found.doubts[0]}"
    if accept_change:
        return "not listed; the next replication removes it"
    if was_seen_by is None and here.private and not identity:
        return "not listed without a login, and private"
    if was_seen_by and was_seen_by != identity:  # a login sees what everybody sees
        return "not listed, but asked with another login, or none, than when it was found"
    return ""


def accepted(here: Distribution, found_by: FoundBy) -> Distribution:
    """The same replica as if it had been found as it is looked for now."""
    return replace(here, replica_mark=f"{found_by}{_rest(here.replica_mark)}")


def turned_private(here: Iterable[Distribution], found: Discovery, upstream: str, now: datetime) -> list[Distribution]:
    """The replicas that are public here and listed as private upstream, made private: that waits for no content."""
    listed = {one.path for one in found.served if one.private}
    return [
        replace(one, private=True, updated_at=now)
        for one in here
        if one.replica_of == upstream and not one.private and one.path in listed
    ]


def _rest(mark: str) -> str:
    """A mark without how the path was found, which older releases have not recorded."""
    match = _FOUND_BY.match(mark)
    return mark[match.end() :] if match else mark


def mark_of(served: Served, policy: str, version: int) -> str:
    """Return what is remembered of a replication: which content, copied how far, became which version; empty where that is
    not told."""
    return f"{served.content} {policy} {version}" if served.content else ""


def current_version(here: Distribution | None, served: Served, policy: str) -> int | None:
    """The version here that holds what a path serves upstream; None where it has to be synced to know that."""
    if here is None or here.version is None:
        return None
    mark = _rest(here.replica_mark)
    return here.version if mark and mark == mark_of(served, policy, here.version) else None


def switch(
    here: Mapping[str, Distribution],
    wanted: Iterable[tuple[Served, int]],
    upstream: str,
    now: datetime,
    policy: str = "immediate",
    found_by: FoundBy | None = None,
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
        marked = replace(new, replica_mark=f"{found_by or ''}{mark_of(served, policy, version)}")
        if marked != old:
            switched.append(marked if new == old else replace(marked, updated_at=now))
    return switched
