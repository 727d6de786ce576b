"""What else a Harbor says of its projects: quotas, members, robot accounts, and artifacts without a tag.

Source: Harbor's API v2.0 (swagger.yaml): projects/{id}/summary, projects/{id}/members, robots, artifacts.
"""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote

from oci.remote.discovery.bounds import EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess, ForeignAction, ForeignRole, known_actions
from oci.remote.discovery.inventory import REFUSALS, fetch_json, read_lists
from oci.remote.transport import RemoteTransport

API = "/api/v2.0"
_PAGE = "page=1&page_size=100"
_ROLES: Mapping[int, tuple[str, tuple[ForeignAction, ...]]] = {
    1: ("projectAdmin", ("pull", "push", "delete")),
    2: ("developer", ("pull", "push")),
    3: ("guest", ("pull",)),
    4: ("maintainer", ("pull", "push", "delete")),
    5: ("limitedGuest", ("pull",)),
}


async def read_quota(transport: RemoteTransport, project: str, key: str, remarks: list[str]) -> int:
    """Return how many bytes a project may hold; 0: it has no limit, or the login may not read it, which is a remark."""
    try:
        document, _response = await fetch_json(transport, f"{API}/projects/{key}/summary")
    except REFUSALS as error:
        remarks.append(f"quota of project {project}: {error.message}")
        return 0
    quota = document.get("quota") if isinstance(document, dict) else None
    hard = quota.get("hard") if isinstance(quota, dict) else None
    size = hard.get("storage") if isinstance(hard, dict) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**53 else 0


async def list_untagged(transport: RemoteTransport, path: str, tally: EntryTally) -> AsyncIterator[object]:
    """Yield the digests of artifacts that no tag leads to, as they stand; those within an index are not listed."""
    project, _, name = path.partition("/")
    twice = quote(quote(name, safe=""), safe="")  # as its API wants the name of a repository
    listed = f"{API}/projects/{quote(project, safe='')}/repositories/{twice}/artifacts?{_PAGE}&q={quote('tags=nil', safe='')}"
    async for artifact in read_lists(transport, listed, tally):
        if not artifact.get("tags"):
            yield artifact.get("digest")


async def read_project_access(
    transport: RemoteTransport, project: str, number: str, access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> None:
    """Read the members and robot accounts of a project; those that the login may not read are a remark."""
    try:
        async for member in read_lists(transport, f"{API}/projects/{number}/members?{_PAGE}", tally):
            _take_member(member, project, access, remarks)
    except REFUSALS as error:
        tally.check()
        remarks.append(f"members of project {project}: {error.message}")
    if not number.isdecimal():
        remarks.append(f"robot accounts of project {project}: its entry has no project_id")
        return
    wanted = quote(f"Level=project,ProjectID={number}", safe="")
    try:
        async for robot in read_lists(transport, f"{API}/robots?{_PAGE}&q={wanted}", tally):
            _take_robot(robot, project, access, remarks)
    except REFUSALS as error:
        tally.check()
        remarks.append(f"robot accounts of project {project}: {error.message}")


def _take_member(member: Mapping[str, object], project: str, access: ForeignAccess, remarks: list[str]) -> None:
    name, role = str(member.get("entity_name"))[:300], member.get("role_id")
    known = _ROLES.get(role) if isinstance(role, int) else None
    if known is None:
        remarks.append(f"member {name} of project {project} has the unknown role {str(member.get('role_name'))[:50]}")
        return
    if member.get("entity_type") == "g":
        remarks.append(
            f"members of the group {name} of project {project} are in Harbor's identity provider; name them here"
        )
        access.groups.setdefault(name, [])
        access.roles.append(ForeignRole("group", name, *known, project))
    else:
        access.roles.append(ForeignRole("user", name, *known, project))


def _take_robot(robot: Mapping[str, object], project: str, access: ForeignAccess, remarks: list[str]) -> None:
    name = str(robot.get("name"))[:300]
    if robot.get("disable"):
        remarks.append(f"robot account {name} of project {project} is disabled there, and left out")
        return
    listed = robot.get("permissions")
    allowed: dict[str, bool] = {}
    for permission in listed if isinstance(listed, list) else []:
        if not isinstance(permission, dict) or permission.get("namespace") != project:
            continue
        entries = permission.get("access")
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, dict) or entry.get("effect") not in (None, "", "allow"):
                remarks.append(
                    f"robot account {name} of project {project} has a permission that denies; look through it"
                )
                return
            resource, action = entry.get("resource"), str(entry.get("action"))
            if resource == "repository" or (resource == "artifact" and action == "delete"):
                allowed[action] = True
    actions = known_actions(allowed)
    if not actions:
        remarks.append(f"robot account {name} of project {project} may neither pull, push nor delete, and is left out")
        return
    access.roles.append(ForeignRole("robot", name, "robot account", actions, project))
