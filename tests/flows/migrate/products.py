"""Harbor and Quay as they document their management APIs, each before a real docker-registry that serves /v2/.

The products themselves do not run here.
Sources: Harbor's swagger.yaml (API v2.0); Red Hat Quay API guide. A Pulp is in `pulp_product`.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from tests.proxy import Proxy
from tests.upstream import LoopbackServer

LOGIN = "mover:mover-secret"
TOKEN = "token-of-an-application"  # of a fake


@dataclass
class ApiReply:
    """What an API answers: JSON, or raw bytes."""

    document: object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return self.document if isinstance(self.document, bytes) else json.dumps(self.document).encode()


Query = Mapping[str, str]
Api = Callable[[str, Query, Mapping[str, str]], ApiReply | None]


def denied(status: int = 401) -> ApiReply:
    return ApiReply({"errors": [{"code": "UNAUTHORIZED", "message": "unauthorized"}]}, status)


class Product(Proxy):
    """A registry whose management API is `api`; `asked` are the paths that it was asked for, `faults` answer before it does."""

    def __init__(self, url: str, api: Api, *, tls: Mapping[str, Any] | None = None) -> None:
        super().__init__(url)
        self._server = LoopbackServer(self._app, tls)
        self._api = api
        self.asked: list[str] = []
        self.faults: list[Callable[[str, Query], ApiReply | None]] = []

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if not path.startswith(("/api/", "/pulp/")):
            await super()._app(scope, receive, send)
            return
        text = scope["query_string"].decode()
        query = {name: values[0] for name, values in parse_qs(text).items()}
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.asked.append(f"{path}?{text}")
        reply = next((found for fault in self.faults if (found := fault(path, query))), None)
        reply = reply or self._api(path, query, headers) or ApiReply({"errors": [{"code": "NOT_FOUND"}]}, 404)
        shown = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        shown += [(b"content-type", b"application/json"), (b"content-length", str(len(reply.body)).encode())]
        await send({"type": "http.response.start", "status": reply.status, "headers": shown})
        await send({"type": "http.response.body", "body": reply.body})


def has_login(headers: Mapping[str, str]) -> bool:
    return headers.get("authorization") == f"Basic {base64.b64encode(LOGIN.encode()).decode()}"


# --- Harbor ----------------------------------------------------------------------------------------------------


@dataclass
class HarborProject:
    """One project: its repositories, and what the API says of it. `closed`: its repositories may not be listed."""

    name: str
    repositories: tuple[str, ...] = ()
    public: bool = True
    closed: bool = False
    fields: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)
    immutable: tuple[dict[str, object], ...] = ()
    retention: tuple[dict[str, object], ...] = ()
    bytes: int = -1
    members: tuple[dict[str, object], ...] = ()
    robots: tuple[dict[str, object], ...] = ()
    untagged: dict[str, list[str]] = field(default_factory=dict)
    """Digests by repository."""


@dataclass
class Harbor:
    """The API of a Harbor, whose pages have at most `most` entries whatever is asked for. `links`: pages have a Link."""

    projects: list[HarborProject]
    most: int = 100
    links: bool = True

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> ApiReply | None:
        if not path.startswith("/api/v2.0/"):
            return None
        if not has_login(headers):
            return denied()
        parts = path.removeprefix("/api/v2.0/").split("/")
        if parts == ["projects"]:
            return self._page(path, query, [self._project(n, one) for n, one in enumerate(self.projects, 1)])
        if parts[0] == "retentions":
            project = self.projects[int(parts[1]) - 1]
            return ApiReply(
                {
                    "id": int(parts[1]),
                    "algorithm": "or",
                    "rules": list(project.retention),
                    "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}},
                    "scope": {"level": "project", "ref": int(parts[1])},
                }
            )
        if parts == ["robots"]:
            level, _, number = query["q"].partition(",")
            assert level == "Level=project"
            return self._page(path, query, list(self.projects[int(number.removeprefix("ProjectID=")) - 1].robots))
        project = self.projects[int(parts[1]) - 1] if parts[1].isdecimal() else self._named(parts[1])
        if parts[2] == "summary":
            quota = {"hard": {"storage": project.bytes}, "used": {"storage": 1}}
            return ApiReply({"repo_count": len(project.repositories), "project_admin_count": 1, "quota": quota})
        if parts[2] == "members":
            return self._page(path, query, list(project.members))
        if parts[2] == "immutabletagrules":
            return self._page(path, query, list(project.immutable))
        if project.closed:
            return ApiReply({"errors": [{"code": "FORBIDDEN", "message": "forbidden"}]}, 403)
        if parts[-1] == "artifacts":
            assert query["q"] == "tags=nil"
            digests = project.untagged.get(f"{project.name}/{unquote('/'.join(parts[3:-1]))}", [])
            return self._page(path, query, [{"digest": digest, "type": "IMAGE", "tags": None} for digest in digests])
        return self._page(path, query, [self._repository(project, name) for name in project.repositories])

    def _named(self, name: str) -> HarborProject:
        return next(one for one in self.projects if one.name == name)

    def _project(self, number: int, one: HarborProject) -> dict[str, object]:
        metadata = {"public": str(one.public).lower(), **one.metadata}
        if one.retention:
            metadata["retention_id"] = str(number)
        return {
            "project_id": number,
            "owner_id": 1,
            "owner_name": "admin",
            "name": one.name,
            "deleted": False,
            "creation_time": "2026-01-02T00:00:00.000Z",
            "update_time": "2026-01-02T00:00:00.000Z",
            "current_user_role_id": 1,
            "current_user_role_ids": [1],
            "repo_count": len(one.repositories),
            "metadata": {name: value for name, value in metadata.items() if value is not None},
            "cve_allowlist": {"id": number, "project_id": number, "items": []},
            **one.fields,
        }

    @staticmethod
    def _repository(project: HarborProject, name: str) -> dict[str, object]:
        return {
            "id": 1,
            "project_id": 1,
            "name": name,
            "description": f"about {name}",
            "artifact_count": 1,
            "pull_count": 0,
            "creation_time": "2026-01-02T00:00:00.000Z",
            "update_time": "2026-01-02T00:00:00.000Z",
        }

    def _page(self, path: str, query: Query, entries: list[dict[str, object]]) -> ApiReply:
        page, size = int(query.get("page", "1")), min(int(query.get("page_size", "10")), self.most)
        shown = entries[(page - 1) * size : page * size]
        headers = {"x-total-count": str(len(entries))}
        if self.links and page * size < len(entries):
            asked = f"&q={quote(query['q'], safe='')}" if "q" in query else ""
            back = f'<{path}?page={page - 1}&page_size={size}{asked}>; rel="prev" , ' if page > 1 else ""
            headers["link"] = f'{back}<{path}?page={page + 1}&page_size={size}{asked}>; rel="next"'
        return ApiReply(shown, headers=headers)


def harbor_member(name: str, role: int, *, kind: str = "u") -> dict[str, object]:
    """A member of a project as Harbor lists it."""
    return {
        "id": 1,
        "project_id": 1,
        "entity_name": name,
        "role_name": "a role",
        "role_id": role,
        "entity_id": 1,
        "entity_type": kind,
    }


def harbor_robot(name: str, project: str, *access: tuple[str, str], **fields: object) -> dict[str, object]:
    """A robot account of a project as Harbor lists it; an API that gives the secret away is not believed to be right."""
    listed = [{"resource": resource, "action": action} for resource, action in access]
    return {
        "id": 1,
        "name": f"robot${project}+{name}",
        "description": "",
        "secret": "robot-secret",
        "level": "project",
        "duration": -1,
        "editable": True,
        "disable": False,
        "expires_at": -1,
        "permissions": [{"kind": "project", "namespace": project, "access": listed}],
        **fields,
    }


def tag_rule(
    template: str = "immutable_template",
    tags: str = "**",
    repositories: str = "**",
    *,
    number: int = 0,
    disabled: bool = False,
    decoration: str = "matches",
) -> dict[str, object]:
    """A rule as Harbor writes it."""
    return {
        "id": 1,
        "priority": 0,
        "disabled": disabled,
        "action": "immutable" if template == "immutable_template" else "retain",
        "template": template,
        "params": {template: number} if number else {},
        "tag_selectors": [{"kind": "doublestar", "decoration": decoration, "pattern": tags, "extras": ""}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories, "extras": ""}]
        },
    }


# --- Quay ------------------------------------------------------------------------------------------------------


@dataclass
class Quay:
    """The API of a Quay: repositories by namespace, of one user with organizations; pages of `most` entries."""

    repositories: dict[str, list[dict[str, object]]]
    most: int = 100
    teams: dict[str, dict[str, tuple[str, list[dict[str, object]]]]] = field(default_factory=dict)
    """Role and members of teams, by organization."""
    permissions: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    """What stands at PATH/permissions/KIND/, by that."""

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> ApiReply | None:
        has_token = headers.get("authorization") == f"Bearer {TOKEN}"
        if path == "/api/v1/user/":
            if not has_token:
                return denied()
            user, *organizations = self.repositories
            return ApiReply(
                {"anonymous": False, "username": user, "organizations": [{"name": one} for one in organizations]}
            )
        if path.startswith("/api/v1/organization/"):
            return self._organization(path.removeprefix("/api/v1/organization/").split("/"))
        if path.startswith("/api/v1/repository/"):
            asked = path.removeprefix("/api/v1/repository/").rstrip("/")
            return ApiReply({"permissions": self.permissions.get(asked, {})}) if has_token else denied()
        if path != "/api/v1/repository":
            return None
        if query["namespace"] not in self.repositories:
            return denied(403)
        found = [one for one in self.repositories[query["namespace"]] if has_token or one.get("is_public")]
        start = int(query.get("next_page", "page-0").removeprefix("page-"))
        document: dict[str, object] = {"repositories": found[start : start + self.most]}
        if start + self.most < len(found):
            document["next_page"] = f"page-{start + self.most}"
        return ApiReply(document)

    def _organization(self, parts: list[str]) -> ApiReply | None:
        teams = self.teams.get(parts[0])
        if teams is None:
            return None
        if len(parts) == 1:
            listed = {name: {"name": name, "role": role, "can_view": True} for name, (role, _) in teams.items()}
            return ApiReply({"name": parts[0], "teams": listed, "ordered_teams": sorted(teams)})
        return ApiReply({"name": parts[2], "members": teams[parts[2]][1], "can_edit": True})


def quay_repository(name: str, *, public: bool = True, **fields: object) -> dict[str, object]:
    """A repository as Quay lists it."""
    namespace, _, rest = name.partition("/")
    found: dict[str, object] = {
        "namespace": namespace,
        "name": rest,
        "description": None,
        "is_public": public,
        "kind": "image",
        "state": "NORMAL",
        "quota_report": {"quota_bytes": 0, "configured_quota": None},
        "is_starred": False,
    }
    return {name: value for name, value in {**found, **fields}.items() if value != "absent"}
