"""Pushing signed content to a Pulp, which knows a manifest that was pushed without a tag only as pending."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from catalog.catalog import Catalog
from catalog.signing.atomic import plan_atomic
from flows.push.report import PushFailed
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from oci.signing.pgp_keys import load_pgp_signer
from tests.conftest import EntrepotFactory
from tests.flows.push.conftest import Push, actions, add, tags_at
from tests.proxy import Passed, Proxy
from tests.servers import EntrepotServer, get
from tests.unit.catalog.conftest import commit_to


class Pulp(Proxy):
    """Before one of ours: signatures of a repository's manifests are answered 404 until a tag is put there.

    Source: seen with Pulp 2.30, whose view of signatures looks for the manifest among those of the repository's latest version.
    """

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["path"].removeprefix("/extensions/v2/").partition("/signatures/")[0]
        self.refusals = [one for one in self.refusals if one[2] != 404]
        if name != scope["path"] and not self._is_tagged(name):
            self.refusals = [("PUT", "/extensions/", 404), ("GET", "/extensions/", 404), *self.refusals]
        await super()._app(scope, receive, send)

    def _is_tagged(self, name: str) -> bool:
        prefix = f"/v2/{name}/manifests/"
        put = [one.path for one in self.seen if one.method == "PUT" and one.status == 201]
        return any(path.startswith(prefix) and ":" not in path.removeprefix(prefix) for path in put)


@pytest.fixture(scope="module")
def target(module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    return module_entrepot_server()


@pytest.fixture
def pulp(target: EntrepotServer, catalog: Catalog) -> Iterator[Pulp]:
    with Pulp(target.url) as served:
        catalog.settings.logins[served.host] = SecretStr(target.creds)
        yield served


def signed(catalog: Catalog, name: str, key: Path) -> Manifest:
    """`v1`, an index of one image; both are signed."""
    store = MemoryStore()
    image = pack_image(store, [{"file": name}])
    index = pack_index(store, [(image, Platform("linux", "amd64"))])
    add(catalog, name, store, v1=index)
    signer = load_pgp_signer(key.read_bytes(), None, where=key.name)
    changes = plan_atomic(
        catalog,
        catalog.snapshots.get(name),
        [index.digest, image.digest],
        signer,
        identity="registry.example/app",
        timestamp=0,
    )
    commit_to(catalog, name, *changes, operation_id=f"sign {name}")
    return index


def signatures(target: EntrepotServer, name: str, index: Manifest) -> list[int]:
    """How many signatures the index has there, and its child."""
    digests = [index.digest, index.manifests[0].digest]
    return [len(get(f"{target.url}/extensions/v2/{name}/signatures/{one}").json()["signatures"]) for one in digests]


def test_signatures_go_when_their_tags_are_there(
    push: Push, catalog: Catalog, pulp: Pulp, target: EntrepotServer, gpg_home: Path
) -> None:
    made = {name: signed(catalog, name, gpg_home / "secret.asc") for name in ("signed/one", "signed/two")}
    result = push(target=pulp.host, paths=["signed/*"])
    assert actions(result) == {"signed/one:v1": "added", "signed/two:v1": "added"}
    for name, index in made.items():
        assert tags_at(target.host, name) == ["v1"]
        assert signatures(target, name, index) == [1, 1]
    pulp.seen.clear()
    pulp.seen.append(Passed("PUT", "/v2/signed/one/manifests/v1", "", 201, 0))
    pulp.seen.append(Passed("PUT", "/v2/signed/two/manifests/v1", "", 201, 0))
    assert set(actions(push(target=pulp.host, paths=["signed/*"])).values()) == {"unchanged"}
    assert not [one for one in pulp.seen[2:] if one.method not in ("GET", "HEAD")]


def test_a_signature_that_is_refused_then_too_is_a_failure_by_name(
    push: Push, catalog: Catalog, pulp: Pulp, target: EntrepotServer, gpg_home: Path
) -> None:
    signed(catalog, "refused/one", gpg_home / "secret.asc")
    pulp.refusals.append(("PUT", "/extensions/", 400))
    with pytest.raises(
        PushFailed, match=r"(?s)the others were.*refused/one:v1: it is there, but not its Atomic signature"
    ):
        push(target=pulp.host, paths=["refused/*"])
    assert tags_at(target.host, "refused/one") == ["v1"]
