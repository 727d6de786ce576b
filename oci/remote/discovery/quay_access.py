"""Who may do what in namespaces of a Quay: teams, their members, and permissions of repositories.

Source: Red Hat Quay API guide: `organization`, `team`, `permission`.
"""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from oci.errors import RemoteCorrupt, RemoteNotFound
from oci.remote.discovery.bounds import EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess, ForeignAction, ForeignRole, SubjectKind
from oci.remote.discovery.inventory import REFUSALS, fetch_json
from oci.remote.transport import RemoteTransport

API = "/api/v1"
_ROLES: Mapping[str, tuple[ForeignAction, ...]] = {
    "read": ("pull",),
    "write": ("pull", "push"),
    "admin": ("pull", "push", "delete"),
}


def team_group(namespace: str, team: str) -> str:
    """Return the name of a team among all groups: two organizations may have teams of one name."""
    return f"{namespace}-{team}"


async def read_quay_access(
    transport: RemoteTransport, paths: Iterable[str], access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> None:
    """Read the teams of the namespaces of some repositories, and who may use these; what may not be read is a remark."""
    listed = sorted(paths)
    for namespace in dict.fromkeys(path.partition("/")[0] for path in listed):
        try:
            await _read_teams(transport, namespace, access, remarks, tally)
        except RemoteNotFound:
            continue  # the namespace of a user has no teams
        except REFUSALS as error:
            tally.check()
            remarks.append(f"teams of {namespace}: {error.message}")
    for path in listed:
        try:
            for kind in ("user", "team"):
                await _read_permissions(transport, path, kind, access, remarks, tally)
        except REFUSALS as error:
            tally.check()
            remarks.append(f"permissions of {path}: {error.message}")


async def _read_teams(
    transport: RemoteTransport, namespace: str, access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> None:
    place = f"{API}/organization/{quote(namespace, safe='')}"
    teams = _mapping(await _object(transport, place), "teams")
    tally.add(len(teams))
    for team, entry in teams.items():
        document = await _object(transport, f"{place}/team/{quote(team, safe='')}/members")
        members = document.get("members")
        found = [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []
        tally.add(len(found))
        group = access.groups.setdefault(team_group(namespace, team)[:300], [])
        for member in found:
            name = str(member.get("name"))[:300]
            if member.get("invited"):
                remarks.append(f"{name} is only invited to the team {team[:100]} of {namespace}, and left out")
            else:
                kind: SubjectKind = "robot" if member.get("is_robot") else "user"
                group.append((kind, name))
        role = entry.get("role") if isinstance(entry, dict) else None
        if role == "admin":
            access.roles.append(
                ForeignRole("group", team_group(namespace, team)[:300], "team role admin", _ROLES["admin"], namespace)
            )
        elif role == "creator":
            remarks.append(f"team {team[:100]} of {namespace} may create repositories; give it a rule for that")


async def _read_permissions(
    transport: RemoteTransport, path: str, kind: str, access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> None:
    document = await _object(transport, f"{API}/repository/{quote(path)}/permissions/{kind}/")
    permissions = _mapping(document, "permissions")
    tally.add(len(permissions))
    namespace = path.partition("/")[0]
    for name, entry in permissions.items():
        role = str(entry.get("role")) if isinstance(entry, dict) else ""
        if role not in _ROLES:
            remarks.append(f"{name[:100]} has the unknown role {role[:50]} for {path}")
            continue
        subject: tuple[SubjectKind, str] = ("group", team_group(namespace, name)[:300])
        if kind == "user":
            subject = ("robot" if isinstance(entry, dict) and entry.get("is_robot") else "user", name[:300])
        access.roles.append(ForeignRole(*subject, role, _ROLES[role], namespace, path))


async def _object(transport: RemoteTransport, path: str) -> Mapping[str, object]:
    document, _response = await fetch_json(transport, path)
    if not isinstance(document, dict):
        raise RemoteCorrupt(f"answered {path[:200]} with no JSON object", registry=transport.host)
    return document


def _mapping(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}
