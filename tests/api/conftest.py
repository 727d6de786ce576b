"""A registry of ours on a free loopback port, over a real catalogue, with httpx clients; and content to push to it."""

import base64
import itertools
import json
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from catalog.access.store import ADMINISTRATOR, ensure_administrator
from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from catalog.webhooks.records import open_event_records
from oci import mediatypes
from oci.digest import Digest
from oci.manifest import Manifest, required_blobs
from oci.memory import MemoryStore
from registry_api.app import create_app
from registry_api.server.process import Server, uvicorn_config
from tests.homes import new_home
from tests.postgresql import PostgresServer
from tests.scratch import disk
from tests.servers import wait_until


@dataclass
class Api:
    """A running registry: `anybody` sends no credentials, `admin` those of the administrator; `busy` counts its requests."""

    catalog: Catalog
    port: int
    password: str
    busy: Callable[[], int] = lambda: 0
    anybody: httpx.Client = field(init=False)
    admin: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.anybody = self.client()
        self.admin = self.client(auth=(ADMINISTRATOR, self.password))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def authorization(self) -> str:
        """The administrator's Authorization header, for raw requests."""
        return f"Basic {base64.b64encode(f'{ADMINISTRATOR}:{self.password}'.encode()).decode()}"

    def client(self, auth: tuple[str, str] | None = None) -> httpx.Client:
        """Another client; close it."""
        return httpx.Client(base_url=self.url, auth=auth, trust_env=False, timeout=30)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        """A bare connection, for what httpx will not send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock:
            yield sock

    def close(self) -> None:
        self.anybody.close()
        self.admin.close()

    def event_records(self) -> str:
        """The records of hooks and subscriptions as JSON, as they are kept in the home or in PostgreSQL."""
        return open_event_records(self.catalog.settings, self.catalog.state).value.model_dump_json()

    # --- pushing -----------------------------------------------------------------------------------------------

    def open_upload(self, name: str) -> str:
        """The location of a new session."""
        answer = self.admin.post(f"/v2/{name}/blobs/uploads/")
        assert answer.status_code == 202, answer.text
        return answer.headers["location"]

    def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Push a blob with one request."""
        digest = Digest.of(data, algorithm)
        answer = self.admin.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest}, content=data)
        assert answer.status_code == 201, answer.text
        return digest

    def put_manifest(
        self, name: str, reference: str, raw: bytes, media_type: str = mediatypes.OCI_MANIFEST
    ) -> httpx.Response:
        """PUT a manifest, whatever comes of it."""
        return self.admin.put(f"/v2/{name}/manifests/{reference}", content=raw, headers={"Content-Type": media_type})

    def push(self, name: str, tag: str, store: MemoryStore, manifest: Manifest) -> None:
        """Push a manifest with all that it is made of."""
        for child in manifest.manifests:
            self.push(name, child.digest, store, store.manifests[child.digest])
        for blob in required_blobs(manifest):
            if self.admin.head(f"/v2/{name}/blobs/{blob.digest}").status_code == 404:
                self.push_blob(name, store.blobs[blob.digest])
        answer = self.put_manifest(name, tag, manifest.raw, manifest.media_type)
        assert answer.status_code == 201, answer.text


@contextmanager
def serve(home: Path, **changes: object) -> Iterator[Api]:
    """Serve a home, a new one where none is, from a thread of this process until the context is left.

    `port` among the changes is the port to listen on, which is no setting here; a free one without it. `now` is the clock.
    """
    port = int(str(changes.pop("port", 0)))
    clock = {"now": changes.pop("now")} if "now" in changes else {}
    if not home.exists():
        new_home(home, administrator=True)
    settings = read_settings(home=home, **{"internal_hosts": "127.0.0.1", **changes})
    password = ensure_administrator(settings) or (home / "admin-password").read_text().strip()
    with open_catalog(settings) as catalog, socket.create_server(("127.0.0.1", port)) as listener:
        server = Server(uvicorn_config(create_app(catalog, **clock), settings))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive(), 20, "the registry serves")
            assert thread.is_alive()
            api = Api(catalog, listener.getsockname()[1], password, lambda: len(server.server_state.tasks))
            yield api
            api.close()
        finally:
            server.should_exit = True
            thread.join(20)
        assert not thread.is_alive()


def serve_on(engine: str, request: pytest.FixtureRequest, home: Path, **changes: object) -> AbstractContextManager[Api]:
    """Serve a home whose catalogue is on an engine, `sqlite` or `postgresql`."""
    if engine == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
        changes |= {"catalog": url, "catalog_password": PostgresServer.password}
    return serve(home, **changes)


@pytest.fixture(scope="module")
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry that the tests of one module share, each in repositories of its own; on a disk for modules marked so."""
    with ExitStack() as stack:
        if request.node.get_closest_marker("disk"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="entrepot-", dir=disk())))
        else:
            folder = tmp_path_factory.mktemp("registry")
        yield stack.enter_context(serve(folder / "entrepot"))


@pytest.fixture
def own_api(tmp_path: Path) -> Iterator[Api]:
    """A registry of this one test."""
    with serve(tmp_path / "entrepot") as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def name() -> str:
    """The name of a repository that no other test uses."""
    return f"team/app-{next(_numbers)}"


@pytest.fixture
def other_name() -> str:
    """The name of another one."""
    return f"other/app-{next(_numbers)}"


def random_blob(size: int = 1000) -> bytes:
    """Content that no other test has pushed."""
    return secrets.token_bytes(size)


def simple_manifest(api: Api, name: str, **fields: object) -> bytes:
    """The bytes of a manifest whose parts are pushed already; `fields` come on top, None takes one away."""
    config, layer = b'{"architecture":"amd64","os":"linux"}', random_blob()
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": describe(api.push_blob(name, config), len(config), mediatypes.OCI_CONFIG),
        "layers": [describe(api.push_blob(name, layer), len(layer), mediatypes.OCI_LAYER_GZIP)],
        **fields,
    }
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def describe(digest: Digest, size: int, media_type: str) -> dict[str, object]:
    """A descriptor as a manifest holds it."""
    return {"mediaType": media_type, "digest": digest, "size": size}


def codes(answer: httpx.Response) -> list[str]:
    """The error codes of an answer, checked for the form the specification gives."""
    assert answer.headers["content-type"].startswith("application/json")
    errors = answer.json()["errors"]
    assert errors
    for error in errors:
        assert error.keys() == {"code", "message", "detail"}
        assert error["message"]
    return [error["code"] for error in errors]


@pytest.fixture
def push_simple(api: Api, name: str) -> Callable[..., Digest]:
    """Push a small image under a tag, into this test's repository unless another is named; returns its digest."""

    def push(tag: str, repository: str | None = None, **fields: object) -> Digest:
        raw = simple_manifest(api, repository or name, **fields)
        answer = api.put_manifest(repository or name, tag, raw)
        assert answer.status_code == 201, answer.text
        return Digest.of(raw)

    return push
