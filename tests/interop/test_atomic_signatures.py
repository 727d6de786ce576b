"""Atomic signatures: skopeo signs into us; a policy that demands signatures lets signed images out of us, and no others."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.store import AccessStore
from catalog.distributions.records import Distribution
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, codes, serve
from tests.conftest import EntrepotFactory
from tests.servers import Client, EntrepotServer

NAME = "team/app"


@pytest.fixture
def server(entrepot_server: EntrepotFactory) -> EntrepotServer:
    return entrepot_server()


def push(server: EntrepotServer, skopeo: Client, folder: Path, tag: str, *options: str, env: dict[str, str]) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": tag}])
    source = folder / f"source-{tag}"
    source.mkdir()
    (source / "version").write_text("Directory Transport Version: 1.1\n")
    (source / "manifest.json").write_bytes(image.raw)
    for digest, data in store.blobs.items():
        (source / digest.encoded).write_bytes(data)
    client = Client(skopeo.binary, skopeo.options, {**skopeo.env, **env})
    client(
        "copy", "--dest-tls-verify=false", f"--dest-creds={server.creds}", *options,
        f"dir:{source}", f"docker://{server.host}/{NAME}:{tag}",
    )  # fmt: skip


def test_a_policy_lets_signed_images_out_and_no_others(
    server: EntrepotServer, skopeo: Client, podman: Client, gpg_home: Path, tmp_path: Path
) -> None:
    env = {"GNUPGHOME": str(gpg_home)}
    push(server, skopeo, tmp_path, "signed", "--sign-by", "signer@example.org", env=env)
    push(server, skopeo, tmp_path, "unsigned", env=env)
    digests = {}
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert client.get("/v2/").headers["x-registry-supports-signatures"] == "1"
        for tag, count in (("signed", 1), ("unsigned", 0)):
            digests[tag] = client.head(f"/v2/{NAME}/manifests/{tag}").headers["docker-content-digest"]
            found = client.get(f"/extensions/v2/{NAME}/signatures/{digests[tag]}").json()["signatures"]
            assert len(found) == count
    demand = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gpg_home / "public.asc")}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"default": [demand]}))
    strict = Client(skopeo.binary, ("--policy", str(policy), *skopeo.options[2:]), {**skopeo.env, **env})
    for tag, allowed in (("signed", True), ("unsigned", False)):
        done = strict(
            "copy",
            "--src-tls-verify=false",
            f"docker://{server.host}/{NAME}:{tag}",
            f"dir:{tmp_path / tag}",
            check=False,
        )
        assert (done.returncode == 0) == allowed, done.stderr
    pulled = podman(
        "pull", "--tls-verify=false", "--signature-policy", str(policy), f"{server.host}/{NAME}:signed", check=False
    )
    assert pulled.returncode == 0, pulled.stderr
    refused = podman(
        "pull", "--tls-verify=false", "--signature-policy", str(policy), f"{server.host}/{NAME}:unsigned", check=False
    )
    assert refused.returncode != 0
    assert "signature was required" in refused.stderr


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("registry") / "entrepot") as running:
        yield running


def message(payload: bytes) -> bytes:
    """An OpenPGP message of one literal packet, old format: what a signed message holds, without a signature."""
    body = b"b\0" + bytes(4) + payload
    return bytes([0x80 | 11 << 2 | 2]) + len(body).to_bytes(4, "big") + body


def signature_of(digest: str, about: str | None = None, **fields: object) -> dict[str, object]:
    critical = {
        "type": "atomic container signature",
        "image": {"docker-manifest-digest": about or digest},
        "identity": {"docker-reference": NAME},
    }
    content = message(json.dumps({"critical": critical, "optional": {}}).encode())
    made = {
        "schemaVersion": 2,
        "type": "atomic",
        "name": f"{digest}@{'0' * 32}",
        "content": base64.b64encode(content).decode(),
    }
    return {**made, **fields}


def test_only_what_is_a_signature_of_the_manifest_is_taken(api: Api) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": "one"}])
    api.push(NAME, "v1", store, image)
    digest, other = image.digest, Digest.of(b"another")
    path = f"/extensions/v2/{NAME}/signatures/{digest}"
    assert api.anybody.put(path, json=signature_of(digest)).status_code == 401
    for bad in (
        {"nothing": 1},
        signature_of(digest, about=other),
        signature_of(other),
        signature_of(digest, type="cosign"),
        signature_of(digest, content="%%%"),
        signature_of(digest, content=base64.b64encode(b"no message").decode()),
        signature_of(digest, content=base64.b64encode(message(b"no payload")).decode()),
        signature_of(digest, content=base64.b64encode(message(b"x")[:-1]).decode()),
    ):
        answer = api.admin.put(path, json=bad)
        assert (answer.status_code, codes(answer)) == (400, ["SIGNATURE_INVALID"])
    before = api.catalog.snapshots.get(NAME).version
    for _ in range(2):  # the second changes nothing
        answer = api.admin.put(path, json=signature_of(digest))
        assert (answer.status_code, answer.headers["location"]) == (201, path)
    assert api.catalog.snapshots.get(NAME).version == before + 1
    assert api.anybody.get(path).json() == {"signatures": [signature_of(digest)]}
    unknown = api.anybody.get(f"/extensions/v2/{NAME}/signatures/{other}")
    assert (unknown.status_code, codes(unknown)) == (404, ["MANIFEST_UNKNOWN"])
    assert api.admin.put(path, content=b"x" * 5_000_000).status_code == 413


def test_the_lookaside_tree_serves_the_same_signatures(api: Api) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": "lookaside"}])
    api.push(NAME, "aside", store, image)
    place = f"/sigstore/{NAME}@sha256={image.digest.encoded}"
    made = [signature_of(image.digest, name=f"{image.digest}@{number:032x}") for number in range(2)]
    for one in made:
        api.admin.put(f"/extensions/v2/{NAME}/signatures/{image.digest}", json=one)
    listed = api.anybody.get(f"/extensions/v2/{NAME}/signatures/{image.digest}").json()["signatures"]
    for number, one in enumerate(listed, 1):
        answer = api.anybody.get(f"{place}/signature-{number}")
        assert (answer.status_code, answer.content) == (200, base64.b64decode(one["content"]))
        assert api.anybody.head(f"{place}/signature-{number}").headers["content-length"] == str(len(answer.content))
    for path in (
        f"{place}/signature-3",
        f"{place}/signature-0",
        f"{place}/signature-",
        f"/sigstore/{NAME}@sha256=0/signature-1",
    ):
        assert api.anybody.get(path).status_code == 404
    assert api.admin.put(f"{place}/signature-3", content=b"x").status_code == 405
    for absent in (
        f"/sigstore/{NAME}@sha256={'0' * 64}/signature-1",
        f"/sigstore/{NAME}@sha512={'0' * 128}/signature-1",
    ):
        assert api.anybody.get(absent).status_code == 404


def test_a_private_repository_s_lookaside_tree_looks_like_that_of_an_absent_one(api: Api) -> None:
    store = MemoryStore()
    image = pack_image(store, [{"file": "private"}])
    api.push("hidden/app", "v1", store, image)
    api.admin.put(f"/extensions/v2/hidden/app/signatures/{image.digest}", json=signature_of(image.digest))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    api.catalog.distributions.put(Distribution("hidden/app", "hidden/app", now, now, private=True), actor="admin")
    tail = f"@sha256={image.digest.encoded}/signature-1"
    access = AccessStore(api.catalog.settings, api.catalog.state)
    desk = Administration(access, api.catalog.events, actor="test", now=lambda: now)
    desk.add_account("stranger", password="correct horse")
    with api.client(auth=("stranger", "correct horse")) as stranger:
        answers = [
            client.get(f"/sigstore/{name}{tail}")
            for client in (api.anybody, stranger)
            for name in ("hidden/app", "absent/app", NAME)
        ]
    assert {(one.status_code, one.content) for one in answers} == {(404, answers[0].content)}
    assert {frozenset(one.headers.keys()) for one in answers} == {frozenset(answers[0].headers.keys())}
    assert api.admin.get(f"/sigstore/hidden/app{tail}").status_code == 200
    with api.client(auth=("admin", "wrong")) as wrong:
        assert wrong.get(f"/sigstore/hidden/app{tail}").status_code == 401
