"""A Pulp as it documents its management API, for a `Product` of `products`.

Sources: REST API of Pulp and of Pulp Container: distributions, repositories, remotes, content, users, groups, roles.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.flows.migrate.products import ApiReply, Query, has_login

ROOT = "/pulp/api/v3/"
Entry = dict[str, object]
_OF_DISTRIBUTIONS = ("pull_containerdistribution", "push_containerdistribution", "delete_containerdistribution")
_OF_NAMESPACES = tuple(f"namespace_{one}" for one in _OF_DISTRIBUTIONS)
ROLES: Mapping[str, Sequence[str]] = {
    "container.containerdistribution_creator": ("add_containerdistribution",),
    "container.containerdistribution_owner": ("view_containerdistribution", *_OF_DISTRIBUTIONS),
    "container.containerdistribution_collaborator": _OF_DISTRIBUTIONS[:2],
    "container.containerdistribution_consumer": _OF_DISTRIBUTIONS[:1],
    "container.containernamespace_owner": ("view_containernamespace", *_OF_NAMESPACES),
    "container.containernamespace_collaborator": _OF_NAMESPACES,
    "container.containernamespace_consumer": _OF_NAMESPACES[:1],
    "container.containerrepository_owner": ("modify_content_containerrepository",),
    "house.pusher": _OF_DISTRIBUTIONS[1:2],
}


@dataclass
class PulpContent:
    """What the latest version of a repository has: manifests by digest, with the digests that each lists; digests by tag."""

    manifests: Mapping[str, Sequence[str]]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Pulp:
    """The API of a Pulp: distributions with their paths, privacy and labels, and what one repository is synced from."""

    host: Callable[[], str]
    paths: dict[str, bool]
    most: int = 100
    contents: dict[str, PulpContent] = field(default_factory=dict)
    """By the path of the distribution."""
    pushed: frozenset[str] = frozenset()
    """Paths whose repository is one of pushes."""
    pinned: frozenset[str] = frozenset()
    """Paths that serve one version of their repository."""
    fields: dict[str, Entry] = field(default_factory=dict)
    """What else a distribution says, by its path."""
    users: list[Entry] = field(default_factory=list)
    groups: list[Entry] = field(default_factory=list)
    granted: dict[str, list[Entry]] = field(default_factory=dict)
    """Roles by the place of who has them: users/2, groups/1."""

    def __call__(self, path: str, query: Query, headers: Mapping[str, str]) -> ApiReply | None:
        if not path.startswith(ROOT):
            return None
        if not has_login(headers):
            return ApiReply({"detail": "Authentication credentials were not provided."}, 403)
        kind = path.removeprefix(ROOT)
        entries = self._content(kind, query) if kind.startswith("content/") else self._lists().get(kind)
        if kind.endswith("/roles/"):
            wanted = query["role__in"].split(",")
            entries = [one for one in self.granted.get(kind.removesuffix("/roles/"), []) if one["role"] in wanted]
        if entries is None:
            return None
        start, size = int(query.get("offset", "0")), min(int(query.get("limit", "100")), self.most)
        asked = "".join(f"&{name}={value}" for name, value in query.items() if name not in ("limit", "offset"))
        following = f"http://{self.host()}{path}?limit={size}&offset={start + size}{asked}"
        return ApiReply(
            {
                "count": len(entries),
                "next": following if start + size < len(entries) else None,
                "previous": None,
                "results": entries[start : start + size],
            }
        )

    def _lists(self) -> dict[str, list[Entry]]:
        repositories: dict[str, list[Entry]] = {"container": [], "container-push": []}
        for number, name in enumerate(self.paths, 1):
            kind = "container-push" if name in self.pushed else "container"
            repositories[kind].append(
                {
                    "pulp_href": self._repository(name),
                    "name": "alpine" if number == 1 else name.replace("/", "-"),
                    "remote": f"{ROOT}remotes/container/container/1/" if number == 1 else None,
                    "retain_repo_versions": None,
                    "latest_version_href": f"{self._repository(name)}versions/2/",
                }
            )
        return {
            "distributions/container/container/": [
                {
                    "pulp_href": of_distribution(number),
                    "base_path": name,
                    "name": name.replace("/", "-"),
                    "repository": None if name in self.pinned else self._repository(name),
                    "repository_version": f"{self._repository(name)}versions/2/" if name in self.pinned else None,
                    "registry_path": f"{self.host()}/{name}",
                    "namespace": of_namespace(name.partition("/")[0]),
                    "private": private,
                    "description": f"about {name}",
                    "pulp_labels": {"team": "platform"},
                    **self.fields.get(name, {}),
                }
                for number, (name, private) in enumerate(self.paths.items(), 1)
            ],
            "remotes/container/container/": [
                {
                    "pulp_href": f"{ROOT}remotes/container/container/1/",
                    "name": "hub",
                    "url": "https://registry-1.docker.io",
                    "upstream_name": "library/alpine",
                    "include_tags": ["3.*"],
                    "exclude_tags": None,
                    "policy": "on_demand",
                }
            ],
            "users/": self.users,
            "groups/": self.groups,
            "roles/": [
                {"name": name, "permissions": [f"container.{one}" for one in permissions], "locked": True}
                for name, permissions in ROLES.items()
            ],
            "repositories/container/container/": repositories["container"],
            "repositories/container/container-push/": repositories["container-push"],
        }

    def _repository(self, name: str) -> str:
        number = list(self.paths).index(name) + 1
        return f"{ROOT}repositories/container/{'container-push' if name in self.pushed else 'container'}/{number}/"

    def _content(self, kind: str, query: Query) -> list[Entry]:
        """Return the content of a version; it is by the version alone, as old releases know no repository here."""
        path = next(
            name for name in self.paths if f"{self._repository(name)}versions/2/" == query["repository_version"]
        )
        found = self.contents.get(path, PulpContent({}))
        if kind == "content/container/tags/":
            return [{"name": tag, "tagged_manifest": manifest_href(digest)} for tag, digest in found.tags.items()]
        return [
            {
                "pulp_href": manifest_href(digest),
                "digest": digest,
                "listed_manifests": [manifest_href(one) for one in listed],
            }
            for digest, listed in found.manifests.items()
        ]


def manifest_href(digest: str) -> str:
    return f"{ROOT}content/container/manifests/{digest.removeprefix('sha256:')}/"


def pulp_user(number: int, name: str, *groups: str, is_active: bool = True) -> Entry:
    """A user as Pulp lists one; an API that gives the password away is not believed to be right."""
    return {
        "pulp_href": f"{ROOT}users/{number}/",
        "id": number,
        "username": name,
        "password": "hash-of-a-secret",
        "is_staff": False,
        "is_active": is_active,
        "groups": [{"name": one, "pulp_href": f"{ROOT}groups/1/"} for one in groups],
    }


def pulp_group(number: int, name: str) -> Entry:
    return {"pulp_href": f"{ROOT}groups/{number}/", "id": number, "name": name}


def granted(role: str, content_object: object = None, **fields: object) -> Entry:
    """A role of a user or group for an object, by default for everything."""
    named = role if "." in role else f"container.container{role}"
    return {"role": named, "content_object": content_object, "domain": None, "description": None, **fields}


def of_distribution(number: int) -> str:
    return f"{ROOT}distributions/container/container/{number}/"


def of_namespace(name: str) -> str:
    return f"{ROOT}pulp_container/namespaces/{name}/"
