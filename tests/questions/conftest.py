"""One small catalogue, made by pushes, a sync and signing, that all questions are asked of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from catalog.catalog import Catalog, open_catalog
from catalog.lake.reading import LakePlace
from catalog.query.named import find_named
from catalog.query.process import answer
from catalog.query.question import Question, Value
from catalog.query.run import limits_of
from catalog.query.task import Task
from catalog.query.views import NOW, AsOf
from catalog.settings import Settings, read_settings
from catalog.signing.plan import plan_attachment, plan_signing, read_document
from catalog.versions.changes import Commit
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image, pack_index
from oci.platform import Platform
from oci.signing.keys import load_signer
from tests.api.conftest import Api, serve
from tests.mirror import mirror
from tests.upstream import Upstream

BASE = "library/base:1"
PASSWORD = "correct horse"
Rows = list[dict[str, Any]]


@dataclass
class Home:
    """The catalogue, and what was put into it: images by a short name, the moment between the first pushes and the rest."""

    settings: Settings
    scratch: Path
    images: dict[str, Manifest] = field(default_factory=dict)
    moment: datetime = field(init=False)

    def ask(self, sql: str, parameters: Mapping[str, Value] | None = None, as_of: AsOf = NOW) -> Rows:
        """Answer here, as the process of a question does."""
        file = self.settings.catalog_file
        question = Question(sql, parameters or {}, as_of)
        answer(Task(LakePlace(file), self.scratch, question, limits_of(self.settings), "json"))
        return list(json.loads((self.scratch / "answer").read_text()))

    def named(self, name: str, **values: Value) -> Rows:
        """Ask a question that comes with us."""
        found = find_named(name).question(values)
        return self.ask(found.sql, found.parameters)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("questions")
    (folder / "scratch").mkdir()
    found = Home(read_settings(home=folder / "entrepot"), folder / "scratch")
    _push(found, folder / "entrepot")
    _sync(found)
    with open_catalog(found.settings) as catalog:
        _sign(found, catalog)
        catalog.search.refresh()
    return found


def _push(home: Home, folder: Path) -> None:
    """team/app: v1 = latest, then v2 = latest on a named base; team/web: v1 the same as team/app:v1; team/multi: an index; bob is
    refused a push to team/app, and pushes bob/tool."""
    store, images = MemoryStore(), home.images
    base = {"base": "the lowest layer, which is larger than all others"}
    one = images["one"] = pack_image(store, [base, {"a": "1"}], config={"Labels": {"licence": "MIT"}})
    two = images["two"] = pack_image(
        store,
        [base, {"b": "22"}],
        config={"Labels": {"licence": "BSD"}},
        annotations={"org.opencontainers.image.base.name": BASE},
    )
    arm = images["arm"] = pack_image(store, [{"c": "3"}], platform=Platform("linux", "arm64"))
    amd = images["amd"] = pack_image(store, [{"d": "4"}])
    index = images["index"] = pack_index(store, [(amd, Platform("linux", "amd64")), (arm, Platform("linux", "arm64"))])
    loose = images["loose"] = pack_image(store, [{"e": "5"}])
    tool = images["tool"] = pack_image(store, [{"f": "6"}])
    with serve(folder) as api:
        for tag, image in (("v1", one), ("latest", one), ("old", one)):
            api.push("team/app", tag, store, image)
        api.push("team/web", "v1", store, one)
        home.moment = datetime.now(UTC)
        for tag, image in (("v2", two), ("latest", two)):
            api.push("team/app", tag, store, image)
        api.push("team/app", loose.digest, store, loose)
        assert api.admin.delete("/v2/team/app/manifests/old").status_code == 202
        api.push("team/multi", "v1", store, index)
        for reference in ("v2", "latest", "latest", two.digest):
            assert api.anybody.get(f"/v2/team/app/manifests/{reference}").status_code == 200
        pinned = {"repository": "team/app", "version": 2}
        assert api.admin.put("/api/v1/distributions/stable/app", json=pinned).status_code == 200
        _push_as_bob(api, store, tool)


def _push_as_bob(api: Api, store: MemoryStore, tool: Manifest) -> None:
    desk = Administration(
        AccessStore(api.catalog.settings, api.catalog.state),
        api.catalog.events,
        actor="test",
        now=lambda: datetime.now(UTC),
    )
    desk.add_account("bob", password=PASSWORD)
    desk.add_rule(["user:bob"], parse_grant("pull,push:bob/**"))
    with api.client(auth=("bob", PASSWORD)) as bob:
        assert bob.post("/v2/team/app/blobs/uploads/").status_code == 403
        for _, part in tool.children():
            path = "/v2/bob/tool/blobs/uploads/"
            assert bob.post(path, params={"digest": part.digest}, content=store.blobs[part.digest]).status_code == 201
        headers = {"Content-Type": tool.media_type}
        assert bob.put("/v2/bob/tool/manifests/v1", content=tool.raw, headers=headers).status_code == 201


def _sync(home: Home) -> None:
    """mirrored/far: one image whose layer was left upstream."""
    store = MemoryStore()
    far = home.images["far"] = pack_image(store, [{"far": "away"}])
    store.put_tag("v1", far.digest)
    with Upstream({"some/far": store}) as upstream:
        mirror(home.settings.root, f"{upstream.host}/some/far", repository="mirrored/far", policy="on_demand")


def _sign(home: Home, catalog: Catalog) -> None:
    """team/app:v2 is signed by a key, team/app:v1 has an SBOM."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    latest, created = catalog.snapshots.get("team/app"), datetime.now(UTC)
    signer = load_signer(pem, None, where="the test")
    changes = plan_signing(
        catalog, latest, [home.images["two"].digest], signer, reference="team/app", created=created.isoformat()
    )
    sbom = read_document(
        b'{"spdxVersion": "SPDX-2.3", "packages": [{"name": "zlib", "versionInfo": "1.2.9"}]}',
        "https://spdx.dev/Document",
    )
    changes += plan_attachment(catalog, latest, home.images["one"].digest, sbom)
    catalog.commits.commit(
        Commit(
            repository="team/app",
            changes=tuple(changes),
            operation="sign",
            operation_id="sign-1",
            actor="alice",
            created_at=created,
        )
    )
