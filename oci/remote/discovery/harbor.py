"""What a Harbor holds, asked of its management API.

Source: Harbor's API v2.0 (swagger.yaml): projects, repositories, immutabletagrules, retentions, and what `harbor_projects` reads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from oci.digest import Digest
from oci.errors import NameInvalid, RemoteCorrupt
from oci.reference import parse_name
from oci.remote.discovery.bounds import BoundedReasons, BoundedRemarks, EntryTally
from oci.remote.discovery.foreign_access import ForeignAccess
from oci.remote.discovery.harbor_projects import list_untagged, read_project_access, read_quota
from oci.remote.discovery.inventory import REFUSALS, Inventory, TagRule, fetch_json, read_digests, read_lists
from oci.remote.discovery.served import Served
from oci.remote.transport import RemoteTransport

API = "/api/v2.0"
_PAGE = "page=1&page_size=100"
_NUMBERED = frozenset({"latestPushedK", "latestPulledN", "nDaysSinceLastPush", "nDaysSinceLastPull"})


@dataclass(slots=True)
class _Found:
    """What was read so far."""

    tally: EntryTally
    served: list[Served] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=BoundedReasons)
    remarks: list[str] = field(default_factory=BoundedRemarks)
    immutable: list[TagRule] = field(default_factory=list)
    retention: list[TagRule] = field(default_factory=list)
    quotas: dict[str, int] = field(default_factory=dict)
    access: ForeignAccess | None = None
    untagged: dict[str, list[Digest]] = field(default_factory=dict)


async def discover_harbor(
    transport: RemoteTransport, *, rules: bool = True, access: bool = False, untagged: bool = False
) -> Inventory:
    """Read the projects that the login may see, their repositories, with `rules` those of tags and quotas, with `access` who
    may do what, with `untagged` the manifests without a tag.

    A project that may not be read is left out, with the reason. Raises RemoteUnauthorized, RemoteNotFound where there is no
    Harbor, and what a request raises.
    """
    found = _Found(EntryTally(transport.host), access=ForeignAccess() if access else None)
    async for project in read_lists(transport, f"{API}/projects?{_PAGE}", found.tally):
        name = project.get("name")
        if not isinstance(name, str) or not name:
            found.left_out["a project without a name"] = "its entry names none"
            continue
        try:
            await _read_project(transport, name, project, found, rules=rules, untagged=untagged)
        except REFUSALS as error:
            found.tally.check()
            found.left_out[name[:300]] = error.message
    return Inventory(
        tuple({one.path: one for one in found.served}.values()),
        found.left_out,
        tuple(found.remarks),
        tuple(found.immutable),
        tuple(found.retention),
        found.quotas,
        found.access,
        found.untagged,
    )


async def _read_project(
    transport: RemoteTransport, name: str, project: Mapping[str, object], found: _Found, *, rules: bool, untagged: bool
) -> None:
    if project.get("registry_id"):
        found.left_out[name] = (
            "a proxy cache: make a cache here, by `entrepot distribution create`; what it has cached comes again by itself"
        )
        return
    metadata = project.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    is_private = str(metadata.get("public", "")).lower() != "true"
    if "public" not in metadata:
        found.remarks.append(f"project {name} does not say whether it is public, so it counts as private")
    served: list[Served] = []
    listed = f"{API}/projects/{quote(name, safe='')}/repositories?{_PAGE}"
    async for repository in read_lists(transport, listed, found.tally):
        path = _path_of(repository, name, transport.host)
        served.append(Served(path, is_private, _text(repository.get("description"))))
    found.served += served
    number = project.get("project_id")
    key = str(number) if isinstance(number, int) else quote(name, safe="")
    for one in served if untagged else ():
        listed_untagged = list_untagged(transport, one.path, found.tally)
        if digests := await read_digests(listed_untagged, one.path, found.remarks, found.tally):
            found.untagged[one.path] = digests
    if rules:
        await _read_rules(transport, name, key, metadata, found)
        if size := await read_quota(transport, name, key, found.remarks):
            found.quotas[name] = size
    if found.access is not None:
        await read_project_access(transport, name, key, found.access, found.remarks, found.tally)


def _path_of(repository: Mapping[str, object], project: str, host: str) -> str:
    try:
        path = parse_name(str(repository.get("name")))
    except NameInvalid as error:
        raise RemoteCorrupt(f"lists a repository that has no name: {error}", registry=host) from None
    if not path.startswith(f"{project}/"):
        raise RemoteCorrupt(f"lists {path} among the repositories of {project}", registry=host)
    return path


async def _read_rules(
    transport: RemoteTransport,
    name: str,
    key: str,
    metadata: Mapping[str, object],
    found: _Found,
) -> None:
    """Read the rules of a project; those that the login may not read are a remark."""
    try:
        async for rule in read_lists(transport, f"{API}/projects/{key}/immutabletagrules?{_PAGE}", found.tally):
            if not rule.get("disabled"):
                found.immutable += _rules_of(rule, name, found.tally)
    except REFUSALS as error:
        found.tally.check()
        found.remarks.append(f"immutability of project {name}: {error.message}")
    policy = str(metadata.get("retention_id") or "")
    if policy.isdecimal() and policy.isascii():
        try:
            document, _response = await fetch_json(transport, f"{API}/retentions/{policy[:20]}")
        except REFUSALS as error:
            found.remarks.append(f"retention of project {name}: {error.message}")
            return
        listed = document.get("rules") if isinstance(document, dict) else None
        listed = listed if isinstance(listed, list) else []
        found.tally.add(len(listed))
        for rule in listed:
            if isinstance(rule, dict) and not rule.get("disabled"):
                found.retention += _rules_of(rule, name, found.tally)


def _rules_of(rule: Mapping[str, object], project: str, tally: EntryTally) -> list[TagRule]:
    """Return a rule for each pair of its selectors of repositories and tags."""
    template = _text(rule.get("template")) or "immutable_template"
    parameters = rule.get("params")
    value = parameters.get(template) if isinstance(parameters, dict) and template in _NUMBERED else 0
    count = value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
    scopes = rule.get("scope_selectors")
    of_repositories = _selectors(scopes.get("repository") if isinstance(scopes, dict) else None)
    of_tags = _selectors(rule.get("tag_selectors"))
    tally.add(len(of_repositories) * len(of_tags))
    return [
        TagRule(
            project,
            template,
            _text(scope.get("pattern")) or "**",
            _text(tags.get("pattern")) or "**",
            count,
            is_plain=_is_plain(scope, "repoMatches") and _is_plain(tags, "matches"),
        )
        for scope in of_repositories
        for tags in of_tags
    ]


def _selectors(value: object) -> list[Mapping[str, object]]:
    found: list[Mapping[str, object]] = []
    if isinstance(value, list):
        found += [one for one in value if isinstance(one, dict)]
    return found or [{}]


def _is_plain(selector: Mapping[str, object], decoration: str) -> bool:
    return not selector or selector.get("decoration") == decoration


def _text(value: object) -> str:
    return value[:1000] if isinstance(value, str) else ""
