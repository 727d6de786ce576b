"""The registry is killed in the middle of a push: nothing half there afterwards, and the same push works again."""

import json
import socket
import threading
from base64 import b64encode

import httpx
import pytest

from oci import mediatypes
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import random_blob
from tests.conftest import EntrepotFactory
from tests.on_postgresql import staging_folder
from tests.servers import EntrepotServer, wait_until


def _client(server: EntrepotServer) -> httpx.Client:
    return httpx.Client(base_url=server.url, auth=server.auth, trust_env=False, timeout=30)


def _push_blob(client: httpx.Client, data: bytes) -> None:
    location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
    assert client.put(location, params={"digest": Digest.of(data)}, content=data).status_code == 201


def test_kill_in_mid_upload(entrepot_server: EntrepotFactory) -> None:
    server, data = entrepot_server(), random_blob(5_000_000)
    with _client(server) as client:
        location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
    token = b64encode(server.creds.encode()).decode()
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {token}\r\nContent-Length: {len(data)}\r\n\r\n"
        sock.sendall(head.encode() + data[:3_000_000])
        staging = staging_folder(server.home)
        wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in staging.iterdir()), 10, "some is written")
        server.child.kill()
    server.restart()
    with _client(server) as client:
        assert client.head(f"/v2/team/app/blobs/{Digest.of(data)}").status_code == 404
        # On PostgreSQL a session keeps what whole requests have brought; with none, the range is 0-0 as for one byte.
        last = int(client.get(location).headers["range"].removeprefix("0-"))
        kept = last + 1 if last else 0
        rest = data[kept:]
        headers = {"Content-Range": f"{kept}-{len(data) - 1}"}
        done = client.put(location, params={"digest": Digest.of(data)}, content=rest, headers=headers)
        assert done.status_code == 201
        assert client.get(f"/v2/team/app/blobs/{Digest.of(data)}").content == data
        _push_blob(client, data)


def test_what_was_acknowledged_is_there_after_a_kill(entrepot_server: EntrepotFactory) -> None:
    server, data = entrepot_server(), random_blob()
    with _client(server) as client:
        _push_blob(client, data)
        server.child.kill()
    server.restart()
    with _client(server) as client:
        assert client.get(f"/v2/team/app/blobs/{Digest.of(data)}").content == data


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1])
def test_kill_while_tags_are_pushed(entrepot_server: EntrepotFactory, delay: float) -> None:
    """Every tag that was acknowledged is there, whole; a tag that was not is there whole, or not at all."""
    server = entrepot_server()
    store = MemoryStore()
    image = pack_image(store, [{"file": "content"}])
    acknowledged: list[str] = []

    def push() -> None:
        with _client(server) as client:
            for number in range(1000):
                headers = {"Content-Type": image.media_type}
                try:
                    answer = client.put(f"/v2/team/app/manifests/t{number}", content=image.raw, headers=headers)
                except httpx.TransportError:
                    return
                assert answer.status_code == 201
                acknowledged.append(f"t{number}")

    with _client(server) as client:
        for data in store.blobs.values():
            _push_blob(client, data)
    pushing = threading.Thread(target=push)
    pushing.start()
    wait_until(lambda: len(acknowledged) >= 3, 20, "some tags are pushed")
    threading.Event().wait(delay)
    server.child.kill()
    pushing.join(30)
    server.restart()
    with _client(server) as client:
        tags = client.get("/v2/team/app/tags/list").json()["tags"]
        assert set(acknowledged) <= set(tags)
        assert len(tags) <= len(acknowledged) + 1
        for tag in tags:
            assert client.get(f"/v2/team/app/manifests/{tag}").content == image.raw
        again = client.put(
            "/v2/team/app/manifests/again", content=image.raw, headers={"Content-Type": image.media_type}
        )
        assert again.status_code == 201


def test_a_manifest_without_its_commit_is_not_served(entrepot_server: EntrepotFactory) -> None:
    """The bytes of a manifest are kept before the commit; alone they are no manifest of the repository."""
    server = entrepot_server()
    raw = json.dumps({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": []}).encode()
    with _client(server) as client:
        _push_blob(client, raw)
        assert client.get(f"/v2/team/app/manifests/{Digest.of(raw)}").status_code == 404
