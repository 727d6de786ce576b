"""What a Quay holds, asked of its management API. Source: Red Hat Quay API guide: `repository`, `user`."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from oci.errors import NameInvalid, RemoteCorrupt, RemoteUnauthorized
from oci.reference import parse_name
from oci.remote.discovery.bounds import BoundedReasons, BoundedRemarks, EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess
from oci.remote.discovery.inventory import MAX_PAGES, REFUSALS, Inventory, fetch_json
from oci.remote.discovery.quay_access import read_quay_access
from oci.remote.discovery.served import Served
from oci.remote.transport import RemoteTransport

API = "/api/v1"


async def discover_quay(
    transport: RemoteTransport, namespaces: Sequence[str] = (), *, access: bool = False
) -> Inventory:
    """Read the repositories of namespaces, by default those of the user whom the token is of, and of this user's organizations.

    With `access`, read who may use them too.

    A namespace that may not be read is left out, with the reason. Raises RemoteUnauthorized where no namespace is named and the
    token is not good, and what a request raises.
    """
    served: dict[str, Served] = {}
    left_out: dict[str, str] = BoundedReasons()
    remarks: list[str] = BoundedRemarks()
    tally = EntryTally(transport.host)
    for namespace in namespaces or await _own_namespaces(transport):
        try:
            await _read_namespace(transport, namespace, served, left_out, remarks, tally)
        except REFUSALS as error:
            tally.check()
            left_out[namespace] = error.message
    found = ForeignAccess() if access else None
    if found is not None:
        await read_quay_access(transport, served, found, remarks, tally)
    return Inventory(tuple(served.values()), left_out, tuple(remarks), access=found)


async def _own_namespaces(transport: RemoteTransport) -> list[str]:
    try:
        user, _response = await fetch_json(transport, f"{API}/user/")
    except RemoteUnauthorized as error:
        raise RemoteUnauthorized(
            "does not say whose token this is; name namespaces by --namespace, and the token of an OAuth application by "
            "--api-token",
            registry=transport.host,
            status=error.status,
        ) from None
    if not isinstance(user, dict):
        raise RemoteCorrupt("returned a user that is not a JSON object", registry=transport.host)
    organizations = user.get("organizations")
    listed = organizations if isinstance(organizations, list) else []
    names = [user.get("username"), *(one.get("name") for one in listed if isinstance(one, dict))]
    return [name for name in names if isinstance(name, str) and name]


async def _read_namespace(
    transport: RemoteTransport,
    namespace: str,
    served: dict[str, Served],
    left_out: dict[str, str],
    remarks: list[str],
    tally: EntryTally,
) -> None:
    """Read the repositories of a namespace; each page names the next by a token in its body."""
    query = urlencode({"namespace": namespace, "popularity": "false", "last_modified": "false"})
    token, seen = "", set[str]()
    while True:
        following = f"&next_page={quote(token, safe='')}" if token else ""
        document, _response = await fetch_json(transport, f"{API}/repository?{query}{following}")
        listed = document.get("repositories") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(listed, list):
            raise RemoteCorrupt(
                f"returned repositories of {namespace[:200]} that are not a list", registry=transport.host
            )
        tally.add(len(listed))
        for one in listed:
            _read_repository(one, namespace, served, left_out, remarks)
        following_token = document.get("next_page")
        if not following_token:
            return
        token = str(following_token)[:10_000]
        if token in seen or len(seen) >= MAX_PAGES:
            raise RemoteCorrupt(f"pages the repositories of {namespace[:200]} in a loop", registry=transport.host)
        seen.add(token)


def _read_repository(
    entry: object, namespace: str, served: dict[str, Served], left_out: dict[str, str], remarks: list[str]
) -> None:
    if not isinstance(entry, Mapping):
        left_out[f"an entry of {namespace}"] = "it is no object"
        return
    name = f"{entry.get('namespace') or namespace}/{entry.get('name')}"
    try:
        path = parse_name(name)
    except NameInvalid:
        left_out[name[:300]] = "is no name of a repository"
        return
    if not path.startswith(f"{namespace}/"):
        left_out[path] = f"was listed among the repositories of {namespace}"
        return
    if entry.get("kind") not in (None, "image"):
        left_out[path] = f"holds {str(entry.get('kind'))[:50]}s, which no registry serves"
        return
    state = entry.get("state")
    if state not in (None, "NORMAL"):
        remarks.append(f"{path} is in the state {str(state)[:50]}; here it takes pushes, and is not mirrored by itself")
    if "is_public" not in entry:
        remarks.append(f"{path} does not say whether it is public, so it counts as private")
    description = entry.get("description")
    served[path] = Served(
        path, entry.get("is_public") is not True, description[:1000] if isinstance(description, str) else ""
    )
