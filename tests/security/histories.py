"""Histories of two tenants and of one who attacks them: what each of them does, and what each must be able to read."""

import asyncio
import contextlib
import itertools
import secrets
from dataclasses import dataclass, field
from typing import Literal

import httpx
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.content.curation import curate
from catalog.content.restore import plan_towards
from catalog.filters.selector import Selector
from flows.runs.operation import Operation, perform
from flows.sync.request import SyncRequest
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api
from tests.mirror import synced
from tests.security.conftest import NOW, lie_on_head, make_cache, make_private
from tests.security.test_rights import forge
from tests.upstream import Upstream

PASSWORD = "correct horse"
TENANTS = ("alice", "bob")
Way = Literal["cache", "immediate", "on_demand", "streamed", "sparse", "mount", "mount from", "copy", "delete", "read"]
_numbers = itertools.count(1)


SETTINGS = {"upstream_attempts": 1, "sparse_repositories": ["mallory/*/sparse"]}
"""Settings of the registry of a world, beside the tenants' login at their upstream."""
LOGIN = ("us", "password")


def few(examples: int) -> settings:
    """Return the settings by which hypothesis makes so many histories."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.explicit, Phase.generate],  # a history takes too long to be made shorter
    )


@dataclass(frozen=True)
class Secret:
    """An image that one tenant alone has."""

    tenant: str
    image: Manifest

    @property
    def digests(self) -> list[Digest]:
        assert self.image.config is not None
        return [self.image.layers[0].digest, self.image.config.digest, self.image.digest]


@dataclass
class World:
    """A registry, the tenants' own upstream behind a login, and the attacker's, which lies."""

    api: Api
    upstream: Upstream
    evil: Upstream


def settle_in(world: World) -> World:
    """Give the tenants and the attacker accounts, and make the attacker's cache."""
    lie_on_head(world.evil)
    catalog = world.api.catalog
    desk = Administration(AccessStore(catalog.settings, catalog.state), catalog.events, actor="test", now=lambda: NOW)
    for name in (*TENANTS, "mallory"):
        desk.add_account(name, password=PASSWORD)
        desk.add_rule([f"user:{name}"], parse_grant(f"pull,push,delete:{name}/**"))
    make_cache(catalog, "cache", world.evil.host)
    return world


@dataclass
class History:
    """One history, in names of its own."""

    world: World
    number: int = field(default_factory=lambda: next(_numbers))
    store: MemoryStore = field(default_factory=MemoryStore)
    kept: list[Secret] = field(default_factory=list)
    forged: int = 0

    def __post_init__(self) -> None:
        self.world.evil.repositories[self.evil_name] = MemoryStore()
        for name in TENANTS:
            self.world.upstream.repositories[f"{name}/{self.number}"] = MemoryStore()

    @property
    def evil_name(self) -> str:
        return f"evil/{self.number}"

    def path(self, owner: str, what: str) -> str:
        return f"{owner}/{self.number}/{what}"

    @property
    def open_paths(self) -> list[str]:
        """What the attacker reads: all but the tenants' own."""
        made = [self.path("mallory", what) for what in ("sparse", "mirror", "copy", "app")]
        return [*made, f"cache/{self.evil_name}"]

    def own_paths(self, tenant: str) -> list[str]:
        return [self.path(tenant, "app"), self.path(tenant, "mirror")]

    # --- what tenants do ---

    def push(self, tenant: str) -> None:
        secret = Secret(tenant, pack_image(self.store, [{"file": secrets.token_hex(300)}]))
        self.world.api.push(self.path(tenant, "app"), f"v{len(self.kept)}", self.store, secret.image)
        make_private(self.world.api.catalog, self.path(tenant, "app"))
        self.kept.append(secret)

    def mirror(self, tenant: str, policy: str) -> None:
        store = self.world.upstream.repositories[f"{tenant}/{self.number}"]
        secret = Secret(tenant, pack_image(store, [{"file": secrets.token_hex(300)}]))
        self.store.blobs.update(store.blobs)
        store.put_tag(f"v{len(self.kept)}", secret.image.digest)
        self.sync(f"{self.world.upstream.host}/{tenant}/{self.number}", self.path(tenant, "mirror"), policy)
        make_private(self.world.api.catalog, self.path(tenant, "mirror"))
        self.kept.append(secret)

    # --- what the attacker does, and has done ---

    def sync(self, remote: str, to: str, policy: str) -> None:
        request = SyncRequest.model_validate({"remote": remote, "repository": to, "policy": policy, "on_error": "skip"})
        asyncio.run(synced(self.world.api.catalog, request))

    def attack(self, way: Way, which: int, part: int, *, wrong: bool, as_config: bool) -> None:
        if not self.kept:
            return
        secret = self.kept[which % len(self.kept)]
        digest = secret.digests[part]
        size = len(self.store.blobs.get(digest, secret.image.raw)) + wrong
        self.forged += 1
        tag = f"f{self.forged}"
        api, evil = self.world.api, self.world.evil.repositories[self.evil_name]
        with contextlib.suppress(EntrepotError), api.client(auth=("mallory", PASSWORD)) as mallory:
            if way == "cache":
                forge(evil, digest, size, tag=tag, as_config=as_config)
                api.anybody.get(f"/v2/cache/{self.evil_name}/manifests/{tag}")
            elif way in ("immediate", "on_demand", "streamed"):
                forge(evil, digest, size, tag=tag, as_config=as_config)
                self.sync(f"{self.world.evil.host}/{self.evil_name}", self.path("mallory", "mirror"), way)
            elif way == "sparse":
                self._push_sparse(mallory, digest, size, tag, as_config=as_config)
            elif way in ("mount", "mount from"):
                source = {"from": self.own_paths(secret.tenant)[which % 2]} if way == "mount from" else {}
                mounted = {"mount": str(digest), **source}
                mallory.post(f"/v2/{self.path('mallory', 'app')}/blobs/uploads/", params=mounted)
            elif way == "copy":
                self._copy([self.path("mallory", "mirror"), f"cache/{self.evil_name}"][which % 2])
            elif way == "delete":
                name = self.path("mallory", "sparse")
                found = api.catalog.snapshots.find(name)
                for one in list(found.manifests)[:1] if found else ():
                    mallory.delete(f"/v2/{name}/manifests/{one}")
            else:
                self.read_all(api.anybody)

    def _push_sparse(self, mallory: httpx.Client, digest: Digest, size: int, tag: str, *, as_config: bool) -> None:
        name, store = self.path("mallory", "sparse"), MemoryStore()
        manifest = forge(store, digest, size, as_config=as_config)
        for data in store.blobs.values():
            mallory.post(f"/v2/{name}/blobs/uploads/", params={"digest": str(Digest.of(data))}, content=data)
        headers = {"Content-Type": manifest.media_type}
        mallory.put(f"/v2/{name}/manifests/{tag}", content=manifest.raw, headers=headers)

    def _copy(self, source: str) -> None:
        catalog, target = self.world.api.catalog, self.path("mallory", "copy")
        chosen = curate(catalog, [Selector(source)], now=NOW).as_snapshot(target)
        operation = Operation(
            target, "curate", "", lambda latest: plan_towards(latest, chosen), allow_sparse=True, donors=(source,)
        )
        perform(catalog, operation, actor="test", run_id=f"{self.number}-{self.forged}", now=NOW)

    def read_all(self, client: httpx.Client) -> set[Digest]:
        """What of the secrets somebody gets from paths that are not a tenant's."""
        return {digest for path in self.open_paths for one in self.kept for digest in read(client, path, one)}

    # --- maintenance ---

    def keep_up(self, *, reclaim: bool) -> None:
        """End all leases that have done their service, and free what can be fetched again."""
        catalog = self.world.api.catalog
        catalog.maintenance.sweep(grace=-1)
        if reclaim:
            names = catalog.snapshots.names()
            catalog.maintenance.reclaim(catalog.maintenance.reclaimable(names, keep=-1), names, keep=-1)

    def check(self) -> None:
        api = self.world.api
        with contextlib.ExitStack() as stack:
            clients = {name: stack.enter_context(api.client(auth=(name, PASSWORD))) for name in (*TENANTS, "mallory")}
            for name, client in (("anybody", api.anybody), ("mallory", clients["mallory"])):
                assert self.read_all(client) == set(), f"{name} reads what a tenant alone has"
            self._check_names(clients)
            for secret in self.kept:
                for other, client in [("anybody", api.anybody), *clients.items()]:
                    got = {digest for path in self.own_paths(secret.tenant) for digest in read(client, path, secret)}
                    if other == secret.tenant:
                        assert got == set(secret.digests), "a tenant no longer gets what is its own"
                    else:
                        assert not got, f"{other} reads what {secret.tenant} alone has"

    def _check_names(self, clients: dict[str, httpx.Client]) -> None:
        """Check that names and tags of a tenant's paths are told to the tenant alone."""
        own = {path for secret in self.kept for path in self.own_paths(secret.tenant)}
        for other, client in [("anybody", self.world.api.anybody), *clients.items()]:
            answer = client.get("/v2/_catalog", params={"n": 10_000})
            listed = own & set(answer.json().get("repositories", ()))
            told = {path for path in own if client.get(f"/v2/{path}/tags/list").status_code == 200}
            assert listed == told == {path for path in self._served() if path.startswith(f"{other}/")}

    def _served(self) -> set[str]:
        """Return the paths of tenants that serve something."""
        names = self.world.api.catalog.snapshots.names()
        return {path for tenant in TENANTS for path in self.own_paths(tenant) if path in names}


def read(client: httpx.Client, path: str, secret: Secret) -> list[Digest]:
    """What of a secret a path gives."""
    found = [digest for digest in secret.digests if gives(client, f"/v2/{path}/blobs/{digest}", digest)]
    digest = secret.image.digest
    return [*found, digest] if gives(client, f"/v2/{path}/manifests/{digest}", digest) else found


def gives(client: httpx.Client, path: str, digest: Digest) -> bool:
    """Whether a path gives the bytes of a digest, whole."""
    try:
        answer = client.get(path)
    except httpx.RemoteProtocolError:  # broken off
        return False
    return answer.status_code == 200 and Digest.of(answer.content) == digest


ways = st.sampled_from(
    ["cache", "immediate", "on_demand", "streamed", "sparse", "mount", "mount from", "copy", "delete", "read"]
)
steps = st.one_of(
    st.tuples(st.just("push"), st.sampled_from(TENANTS)),
    st.tuples(st.just("mirror"), st.sampled_from(TENANTS), st.sampled_from(["immediate", "on_demand", "streamed"])),
    st.tuples(st.just("attack"), ways, st.integers(0, 5), st.integers(0, 2), st.booleans(), st.booleans()),
    st.tuples(st.just("attack"), ways, st.integers(0, 5), st.integers(0, 2), st.booleans(), st.booleans()),
    st.tuples(st.just("keep up"), st.booleans()),
)


histories = st.lists(steps, min_size=4, max_size=8)
"""What tenants and attacker do, in turn."""


def play(history: History, acts: list[tuple[object, ...]]) -> None:
    """Have all acts happen, and check who reads what; again after all that can be freed is."""
    history.push("alice")
    for name, *values in acts:
        if name == "push":
            history.push(*values)  # type: ignore[arg-type]
        elif name == "mirror":
            history.mirror(*values)  # type: ignore[arg-type]
        elif name == "keep up":
            history.keep_up(reclaim=bool(values[0]))
        else:
            way, which, part, wrong, as_config = values
            history.attack(way, which, part, wrong=bool(wrong), as_config=bool(as_config))  # type: ignore[arg-type]
    history.check()
    history.keep_up(reclaim=True)
    history.check()
