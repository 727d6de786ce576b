"""Where a Pulp has its content from: its container remotes, by the distribution that serves what they bring.

Source: Pulp Container's REST API: `remotes/container/container/`, `repositories/container/container/`, `distributions`.
"""

from collections.abc import Mapping

from oci.remote.discovery.inventory import REFUSALS
from oci.remote.discovery.pulp import list_results
from oci.remote.transport import RemoteTransport


async def read_sources(transport: RemoteTransport, root: str, remarks: list[str]) -> None:
    """Read what the remotes below the `root` of an API sync from, which is a remark for each; so is that it may not be read."""
    try:
        await _read_remotes(transport, root, remarks)
    except REFUSALS as error:
        remarks.append(f"where its repositories are synced from cannot be read: {error.message}")


async def _read_remotes(transport: RemoteTransport, root: str, remarks: list[str]) -> None:
    remotes = list_results(transport, f"{root}remotes/container/container/?limit=100")
    by_href = {str(one.get("pulp_href"))[:500]: _source_of(one) async for one in remotes}
    if not by_href:
        return
    async for repository in list_results(transport, f"{root}repositories/container/container/?limit=100"):
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
