"""From the entries of a list to syncs: patterns select paths that their registries list."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from catalog.path_patterns import select_paths
from catalog.remotes.clients import Upstreams
from flows.sync.request import SyncRequest
from flows.sync_many.report import RepositoryOutcome
from flows.sync_many.request import SyncItem
from oci.errors import EntrepotError, InvalidInput, LocalError
from oci.remote.address import Remote
from oci.remote.discovery.discovery import Discovery, discover

ListPaths = Callable[[Remote], Awaitable[Discovery]]
"""Asks a registry for the paths that it serves."""


@dataclass(slots=True)
class SelectedSyncs:
    """Syncs of different repositories here, outcomes of entries that have none, and remarks."""

    syncs: list[SyncRequest] = field(default_factory=list)
    failed: list[RepositoryOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def select_syncs(
    items: Sequence[SyncItem], *, exclude: Iterable[str], dry_run: bool, list_paths: ListPaths
) -> SelectedSyncs:
    """Return the syncs of all entries. An entry that names a repository goes before patterns, an earlier pattern before a later.

    A registry is asked once. One that does not list its paths is the failure of its entries. Raises InvalidInput where two
    entries name one repository here.
    """
    selected, excluded = SelectedSyncs(), tuple(exclude)
    taken: dict[str, str] = {}
    for item in items:
        if not item.pattern:
            request = item.sync_of(dry_run=dry_run)
            if request.target in taken:
                raise InvalidInput(
                    f"{request.remote} and {taken[request.target]} would both be synced into {request.target}; "
                    "name another repository, or add one as a further remote of the other (also)"
                )
            taken[request.target] = request.remote
            selected.syncs.append(request)
    listed: dict[str, Discovery | EntrepotError] = {}
    for item in items:
        if item.pattern:
            await _select_listed(item, selected, taken, excluded, listed, list_paths, dry_run=dry_run)
    return selected


async def _select_listed(
    item: SyncItem,
    selected: SelectedSyncs,
    taken: dict[str, str],
    excluded: Sequence[str],
    listed: dict[str, Discovery | EntrepotError],
    list_paths: ListPaths,
    *,
    dry_run: bool,
) -> None:
    registry = item.registry
    found = listed.get(str(registry))
    if found is None:
        found = listed[str(registry)] = await _list(registry, list_paths)
    if isinstance(found, EntrepotError):
        selected.failed.append(RepositoryOutcome(item.remote, item.remote, "failed", error=found.message))
        return
    selected.notes += [f"{registry.host}: {doubt}" for doubt in found.doubts]
    paths = select_paths((one.path for one in found.served), include=[item.pattern], exclude=excluded)
    if not paths:
        selected.notes.append(f"{item.remote} matches none of the {len(found.served)} paths of {registry.host}")
    for path in sorted(paths):
        try:
            request = item.sync_of(path, dry_run=dry_run)
        except ValidationError:  # with what stands before it, the name is too long
            selected.failed.append(
                RepositoryOutcome(path, f"{registry.host}/{path}", "failed", error="invalid name here")
            )
            continue
        if request.target not in taken:
            taken[request.target] = request.remote
            selected.syncs.append(request)


async def _list(registry: Remote, list_paths: ListPaths) -> Discovery | EntrepotError:
    try:
        return await list_paths(registry)
    except LocalError:
        raise
    except EntrepotError as error:
        return error


async def list_paths(upstreams: Upstreams, registry: Remote) -> Discovery:
    """Ask a registry for the paths that it serves: an Entrepôt, a Pulp, or any registry with a catalog."""
    return await discover(registry.host, lambda only_basic: upstreams.new_transport(registry, only_basic=only_basic))
