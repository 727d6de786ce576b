"""What a Pulp holds and how it is set up, for a migration: distributions, sources, manifests without a tag, access.

Source: Pulp's REST API and Pulp Container's: `distributions`, `repositories`, `content/container/manifests`, `…/tags`.
"""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from oci.digest import Digest
from oci.errors import RemoteNotFound
from oci.remote.discovery.bounds import BoundedReasons, BoundedRemarks, EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess
from oci.remote.discovery.inventory import REFUSALS, Inventory, read_digests
from oci.remote.discovery.pulp import (
    DEFAULT_DOMAIN,
    ROOT,
    PulpDistribution,
    address,
    list_distributions,
    list_results,
)
from oci.remote.discovery.pulp_access import read_pulp_access
from oci.remote.discovery.pulp_sources import read_sources
from oci.remote.transport import RemoteTransport


async def inventory_of_pulp(
    transport: RemoteTransport, *, root: str = "", untagged: bool = False, access: bool = False
) -> Inventory:
    """Read the distributions of a Pulp, and what its remotes sync from; with `untagged` the manifests without a tag, with
    `access` who may do what.

    Raises what `list_distributions` raises; what else may not be read is a remark.
    """
    left_out: dict[str, str] = BoundedReasons()
    remarks: list[str] = BoundedRemarks()
    tally = EntryTally(transport.host)
    listing = await list_distributions(transport, root=root, left_out=left_out)
    for doubt in listing.doubts:
        remarks.append(f"the list of distributions may lack some: {doubt}")  # noqa: PERF401  # which counts them
    for one in listing.roots:
        await read_sources(transport, one, remarks)
    without_tag = await _read_untagged(transport, listing.distributions, remarks, tally) if untagged else {}
    found = ForeignAccess() if access else None
    if found is not None:
        # Users are the same in all domains.
        place = DEFAULT_DOMAIN if DEFAULT_DOMAIN in listing.roots else next(iter(listing.roots), ROOT)
        await read_pulp_access(transport, place, listing.distributions, found, remarks, tally)
    return Inventory(
        tuple(one.served for one in listing.distributions),
        left_out,
        tuple(remarks),
        access=found,
        untagged=without_tag,
    )


async def _read_untagged(
    transport: RemoteTransport, distributions: Sequence[PulpDistribution], remarks: list[str], tally: EntryTally
) -> dict[str, Sequence[Digest]]:
    """Return the manifests without a tag by path; a version that several distributions serve is read once."""
    latest: dict[str, str] = {}
    for root in dict.fromkeys(one.root for one in distributions):
        latest |= await _latest_versions(transport, root, remarks, tally)
    read: dict[str, Sequence[Digest]] = {}
    found: dict[str, Sequence[Digest]] = {}
    for one in distributions:
        version = one.version or latest.get(one.repository, "")
        if not version:
            remarks.append(
                f"manifests of {one.served.path} without a tag: its repository is not among those that the login may see"
            )
            continue
        if version not in read:
            listed = _list_untagged(transport, one.root, version, tally)
            read[version] = await read_digests(listed, one.served.path, remarks, tally)
        if read[version]:
            found[one.served.path] = read[version]
    return found


async def _latest_versions(
    transport: RemoteTransport, root: str, remarks: list[str], tally: EntryTally
) -> dict[str, str]:
    """Return the latest version of each repository, of syncs as of pushes."""
    found: dict[str, str] = {}
    for kind in ("container", "container-push"):
        try:
            async for one in list_results(transport, f"{root}repositories/container/{kind}/?limit=100", tally):
                found[address(one.get("pulp_href"))] = address(one.get("latest_version_href"))
        except RemoteNotFound:
            continue  # not every release has both kinds
        except REFUSALS as error:
            tally.check()
            remarks.append(f"repositories below {root} ({kind}) cannot be listed in full: {error.message}")
    found.pop("", None)
    return found


async def _list_untagged(
    transport: RemoteTransport, root: str, version: str, tally: EntryTally
) -> AsyncIterator[object]:
    """Yield the digests of manifests of a version that neither a tag nor an index leads to, as they stand."""
    place, query = f"{root}content/container", f"limit=100&repository_version={quote(version, safe='')}"
    led_to = {
        address(tag.get("tagged_manifest"))
        async for tag in list_results(transport, f"{place}/tags/?{query}&fields=tagged_manifest", tally)
    }
    digests: list[tuple[str, object]] = []
    fields = quote("pulp_href,digest,listed_manifests", safe="")
    async for manifest in list_results(transport, f"{place}/manifests/?{query}&fields={fields}", tally):
        digests.append((address(manifest.get("pulp_href")), manifest.get("digest")))
        children = manifest.get("listed_manifests")
        if isinstance(children, list):
            tally.add(len(children))
            led_to.update(map(address, children))
    led_to.discard("")
    for href, digest in digests:
        if href not in led_to:
            yield digest
