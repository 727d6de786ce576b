"""Who may do what at a Pulp: roles of users and groups for distributions, for namespaces, and for everything.

Source: Pulp's REST API: `roles`, `users`, `groups`, and the roles of each; Pulp Container's permissions of distributions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from oci.remote.discovery.bounds import EntryTally
from oci.remote.discovery.foreign_access import (
    ForeignAccess,
    ForeignAction,
    ForeignRole,
    SubjectKind,
    known_actions,
)
from oci.remote.discovery.inventory import REFUSALS
from oci.remote.discovery.pulp import PulpDistribution, address, list_results
from oci.remote.transport import RemoteTransport

_OF_DISTRIBUTION: Mapping[str, ForeignAction] = {
    "container.pull_containerdistribution": "pull",
    "container.push_containerdistribution": "push",
    "container.delete_containerdistribution": "delete",
}
_OF_NAMESPACE: Mapping[str, ForeignAction] = {
    "container.namespace_pull_containerdistribution": "pull",
    "container.namespace_push_containerdistribution": "push",
    "container.namespace_delete_containerdistribution": "delete",
}
_WITHOUT_COUNTERPART = (
    "container.add_containerdistribution",
    "container.add_containernamespace",
    "container.modify_content_containerrepository",
    "container.modify_content_containerpushrepository",
)
_ROLES_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class _Subject:
    """A user or group; `place` is where the API has it."""

    kind: SubjectKind
    name: str
    place: str


@dataclass(frozen=True, slots=True)
class _Objects:
    """What roles may be for: paths of distributions and names of namespaces, by their addresses; `roles` are permissions."""

    roles: Mapping[str, frozenset[str]]
    paths: Mapping[str, str]
    namespaces: Mapping[str, str]
    projects: Sequence[str]


async def read_pulp_access(
    transport: RemoteTransport,
    root: str,
    distributions: Sequence[PulpDistribution],
    access: ForeignAccess,
    remarks: list[str],
    tally: EntryTally,
) -> None:
    """Read the roles of users and groups below the `root` of an API; what may not be read is a remark."""
    try:
        roles = await _container_roles(transport, root, tally)
    except REFUSALS as error:
        tally.check()
        remarks.append(f"roles of users and groups: {error.message}")
        return
    namespaces = {one.namespace: one.project for one in reversed(distributions) if one.namespace}
    found = _Objects(
        roles,
        {one.href: one.served.path for one in distributions if one.href},
        namespaces,
        tuple(dict.fromkeys(one.project for one in distributions)),
    )
    subjects = await _groups(transport, root, access, remarks, tally)
    subjects += await _users(transport, root, access, remarks, tally)
    for subject in subjects if roles else ():
        try:
            await _read_roles(transport, subject, found, access, remarks, tally)
        except REFUSALS as error:
            tally.check()
            remarks.append(f"roles of {subject.kind} {subject.name}: {error.message}")


async def _container_roles(transport: RemoteTransport, root: str, tally: EntryTally) -> dict[str, frozenset[str]]:
    """Return the permissions of each role that is about repositories: a user has many others, one for each task."""
    wanted = (*_OF_DISTRIBUTION, *_OF_NAMESPACE, *_WITHOUT_COUNTERPART)
    query = urlencode([("limit", "100"), *(("contains_permission", one) for one in wanted)])
    found: dict[str, frozenset[str]] = {}
    async for role in list_results(transport, f"{root}roles/?{query}", tally):
        name, permissions = role.get("name"), role.get("permissions")
        if isinstance(name, str) and isinstance(permissions, list):
            found[name] = frozenset(one for one in permissions if isinstance(one, str)).intersection(wanted)
    return found


async def _groups(
    transport: RemoteTransport, root: str, access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> list[_Subject]:
    found: list[_Subject] = []
    try:
        async for group in list_results(transport, f"{root}groups/?limit=100", tally):
            if subject := _subject("group", group.get("name"), f"{root}groups/", group.get("id"), remarks):
                access.groups.setdefault(subject.name, [])
                found.append(subject)
    except REFUSALS as error:
        tally.check()
        remarks.append(f"groups: {error.message}")
    return found


async def _users(
    transport: RemoteTransport, root: str, access: ForeignAccess, remarks: list[str], tally: EntryTally
) -> list[_Subject]:
    """Return the users who may log in, and add them to their groups."""
    found: list[_Subject] = []
    try:
        async for user in list_results(transport, f"{root}users/?limit=100", tally):
            subject = _subject("user", user.get("username"), f"{root}users/", user.get("id"), remarks)
            if subject is None:
                continue
            if user.get("is_active") is not True:
                remarks.append(f"user {subject.name} is not active there, and left out")
                continue
            found.append(subject)
            groups = user.get("groups")
            for group in groups if isinstance(groups, list) else ():
                if isinstance(group, dict) and isinstance(name := group.get("name"), str):
                    tally.add(1)
                    access.groups.setdefault(name[:300], []).append(("user", subject.name))
    except REFUSALS as error:
        tally.check()
        remarks.append(f"users: {error.message}")
    return found


def _subject(kind: SubjectKind, name: object, place: str, number: object, remarks: list[str]) -> _Subject | None:
    if not isinstance(name, str) or not isinstance(number, int) or isinstance(number, bool):
        remarks.append(f"a {kind} whose entry has no name or no id is left out: {str(name)[:100]}")
        return None
    return _Subject(kind, name[:300], f"{place}{number}/")


async def _read_roles(
    transport: RemoteTransport,
    subject: _Subject,
    found: _Objects,
    access: ForeignAccess,
    remarks: list[str],
    tally: EntryTally,
) -> None:
    names = sorted(found.roles)
    for start in range(0, len(names), _ROLES_AT_ONCE):
        some = quote(",".join(names[start : start + _ROLES_AT_ONCE]), safe="")
        async for entry in list_results(transport, f"{subject.place}roles/?limit=100&role__in={some}", tally):
            made = list(_roles_of(entry, subject, found, remarks))
            tally.add(len(made))
            access.roles += made


def _roles_of(
    entry: Mapping[str, object], subject: _Subject, found: _Objects, remarks: list[str]
) -> Iterable[ForeignRole]:
    """Yield what a role of a subject allows; one that has no counterpart is a remark."""
    role = str(entry.get("role"))
    permissions = found.roles.get(role)
    if permissions is None:
        return
    # Only a null says everything: an entry without the field is not believed to.
    given = entry.get("content_object", "")
    place = address(given)
    for_all = given is None and not entry.get("domain")
    words: Mapping[str, ForeignAction] = {}
    if for_all:
        words = {**_OF_DISTRIBUTION, **_OF_NAMESPACE}
    elif place in found.paths:
        words = _OF_DISTRIBUTION
    elif place in found.namespaces:
        words = _OF_NAMESPACE
    actions = _actions(permissions, words)
    if not actions:
        where = place[:200] or ("all of Pulp" if for_all else "a domain" if entry.get("domain") else "what is not said")
        remarks.append(f"{subject.kind} {subject.name} has the role {role[:100]} for {where}: it has no counterpart")
    elif place in found.paths:
        path = found.paths[place]
        yield ForeignRole(subject.kind, subject.name, role[:100], actions, path.partition("/")[0], path)
    else:
        for project in found.projects if for_all else (found.namespaces[place],):
            yield ForeignRole(subject.kind, subject.name, role[:100], actions, project)


def _actions(permissions: Iterable[str], words: Mapping[str, ForeignAction]) -> tuple[ForeignAction, ...]:
    """Return what permissions allow; whoever may push may pull too, as Pulp's tokens say."""
    allowed: dict[str, bool] = {words[one]: True for one in permissions if one in words}
    if "push" in allowed:
        allowed["pull"] = True
    return known_actions(allowed)
