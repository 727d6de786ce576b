"""Where a Pulp has its content from: its container remotes, by the distribution that serves what they bring.

Source: Pulp Container's REST API: `remotes/container/container/`, `repositories/container/container/`, `distributions`.
"""

from collections.abc import AsyncIterator, Mapping

from oci.errors import RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.remote.discovery.bounds import BoundedRemarks
from oci.remote.discovery.inventory import Inventory
from oci.remote.discovery.pulp import ROOT, discover_pulp
from oci.remote.discovery.served import entries, read_pages
from oci.remote.transport import RemoteTransport

_REFUSALS = (RemoteNotFound, RemoteUnauthorized, RemoteRefused, RemoteCorrupt)


async def inventory_of_pulp(transport: RemoteTransport, *, root: str = "") -> Inventory:
    """Read the distributions of a Pulp, and what its remotes sync from, which is a remark for each.

    Raises what `discover_pulp` raises; remotes that may not be read are a remark too.
    """
    found = await discover_pulp(transport, root=root)
    remarks = BoundedRemarks()
    for doubt in found.doubts:
        remarks.append(f"the list of distributions may lack some: {doubt}")
    try:
        await _read_sources(transport, root.rstrip("/") or ROOT.rstrip("/"), remarks)
    except _REFUSALS as error:
        remarks.append(f"where its repositories are synced from cannot be read: {error.message}")
    return Inventory(found.served, remarks=tuple(remarks))


async def _read_sources(transport: RemoteTransport, root: str, remarks: BoundedRemarks) -> None:
    remotes = _listed(transport, f"{root}/remotes/container/container/")
    by_href = {str(one.get("pulp_href"))[:500]: _source_of(one) async for one in remotes}
    if not by_href:
        return
    async for repository in _listed(transport, f"{root}/repositories/container/container/"):
        source = by_href.get(str(repository.get("remote"))[:500])
        if source is None:
            continue
        remarks.append(
            f"repository {str(repository.get('name'))[:200]} is synced from {source}; `entrepot sync` goes on with that"
        )


def _source_of(remote: Mapping[str, object]) -> str:
    return f"{str(remote.get('url')).rstrip('/')}/{remote.get('upstream_name')}"[:500] + _tags_of(remote)


def _tags_of(remote: Mapping[str, object]) -> str:
    parts = []
    for name in ("include_tags", "exclude_tags"):
        listed = remote.get(name)
        if isinstance(listed, list) and listed:
            parts.append(f"{name} {', '.join(str(one)[:130] for one in listed[:20])}")
    return f" ({'; '.join(parts)})" if parts else ""


async def _listed(transport: RemoteTransport, path: str) -> AsyncIterator[Mapping[str, object]]:
    async for page in read_pages(transport, f"{path}?limit=100"):
        for one in entries(page, "results", transport.host):
            yield one
