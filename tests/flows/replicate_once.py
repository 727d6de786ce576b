"""Replications without Prefect, and a Pulp's API as its documentation has it, beside a registry in memory."""

import asyncio
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.catalog import Catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import Settings
from flows.replicate.procedure import ReplicateJob, run_replication
from flows.replicate.request import ReplicateRequest, ReplicateResult
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.upstream import Reply, Seen, Upstream


def replicate(catalog: Catalog, upstream: Upstream, **fields: object) -> ReplicateResult:
    """Replicate without Prefect."""
    request = ReplicateRequest.model_validate({"upstream": f"http://{upstream.host}", **fields})

    async def whole() -> ReplicateResult:
        async with Upstreams(catalog.settings, catalog.remotes) as upstreams:
            return await run_replication(ReplicateJob(request, catalog, upstreams, str(uuid.uuid4())))

    return asyncio.run(whole())


def actions(result: ReplicateResult) -> dict[str, str]:
    return {one.path: one.action for one in result.replicas}


def stores_of(*names: str) -> dict[str, MemoryStore]:
    """Repositories with one image each, tagged v1."""
    stores: dict[str, MemoryStore] = {}
    for name in names:
        stores[name] = MemoryStore()
        stores[name].put_tag("v1", pack_image(stores[name], [{"file": name}]).digest)
    return stores


@dataclass
class Lists:
    """What an upstream lists, a fault of the upstream: paths of its catalog, of an Entrepôt, and of a Pulp by its domains.

    None: it has no such API. `secret` are names that an anonymous client may not pull. `root` is where the Pulp's API begins.
    """

    catalog: list[str] | None = None
    cap: int = 0
    entrepot: list[dict[str, object]] | None = None
    pulp: Mapping[str, list[dict[str, object]]] | None = None
    root: str = "/pulp/"
    domains: bool = False
    hidden: str = ""
    secret: set[str] = field(default_factory=set)
    count: int = 0
    asked: list[Seen] = field(default_factory=list)

    def __call__(self, seen: Seen, _good: Reply) -> Reply | None:
        is_anonymous = "authorization" not in seen.headers
        if seen.route == "base":  # logins are taken, and not asked for where anybody may read
            return Reply(401, b"{}", {"www-authenticate": 'Basic realm="upstream"'})
        if seen.name in self.secret and is_anonymous:
            self.asked.append(seen)
            return Reply(401, b"{}", {"www-authenticate": 'Basic realm="upstream"'})
        if seen.route in ("tags", "manifest") and is_anonymous:
            self.asked.append(seen)
        if self.hidden and seen.path.startswith(self.hidden):
            return Reply(404, b"<html>not found</html>")
        answered = self._answer(seen, is_anonymous=is_anonymous)
        if answered is None or not isinstance(answered, dict):
            return answered
        return Reply(200, json.dumps(answered).encode(), {"content-type": "application/json"})

    def _answer(self, seen: Seen, *, is_anonymous: bool) -> "dict[str, object] | Reply | None":
        if seen.path == "/v2/_catalog" and self.catalog is not None:
            last = seen.query.partition("last=")[2].replace("%2F", "/")
            names = [name for name in sorted(self.catalog) if name > last]
            return {"repositories": names[: self.cap or None]}
        if seen.path == "/api/v1/distributions" and self.entrepot is not None:
            shown = [one for one in self.entrepot if not (is_anonymous and (one["path"] in self.secret))]
            return {"distributions": shown}
        return self._pulp(seen) if self.pulp is not None else None

    def _pulp(self, seen: Seen) -> "dict[str, object] | Reply | None":
        assert self.pulp is not None
        if seen.path == f"{self.root}api/v3/status/":
            return {"versions": [{"component": "container"}], "domain_enabled": self.domains}
        if self.domains and seen.path == f"{self.root}default/api/v3/domains/":
            return self._page([{"name": name} for name in self.pulp])
        for domain, entries in self.pulp.items():
            below = f"{domain}/" if self.domains else ""
            if seen.path == f"{self.root}{below}api/v3/distributions/container/container/":
                if "q=bad" in seen.query:
                    return Reply(400, b'{"q": ["Syntax error in expression: \'bad\'."]}')
                return self._page([self._entry(domain, one) for one in entries])
        return None

    def _entry(self, domain: str, fields: Mapping[str, object]) -> dict[str, object]:
        base = fields["base_path"]
        name = f"{domain}/{base}" if self.domains else base
        return {"repository": "/a/", "registry_path": f"pulp.example:8080/{name}", "private": False, **fields}

    def _page(self, results: list[dict[str, object]]) -> dict[str, object]:
        return {"count": self.count or len(results), "next": None, "previous": None, "results": results}


def logged_in(settings: Settings, upstream: Upstream, login: str = "reader:secret") -> Settings:
    """The settings with a login for the upstream."""
    return settings.model_copy(update={"logins": {upstream.host: _secret(login)}})


def _secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)
