"""What a process does not use, it does not load: the modules of a serving process, and those of a short command."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from oci import mediatypes
from oci.digest import Digest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.servers import Children, EntrepotServer, free_port
from tests.upstream import Upstream

NOW = datetime(2026, 1, 2, tzinfo=UTC)

_SERVE = """import json, pathlib, sys, threading
from registry_api.__main__ import main

class Threads:  # which thread looked for a module first
    def __init__(self):
        self.of = {}
    def find_spec(self, name, path=None, target=None):
        self.of.setdefault(name, threading.current_thread() is threading.main_thread())

threads = Threads()
sys.meta_path.insert(0, threads)
code = main(sys.argv[2:])
pathlib.Path(sys.argv[1]).write_text(json.dumps([list(sys.modules), [name for name in threads.of if threads.of[name]]]))
sys.exit(code)"""

_LIST = """import json, sys
from cli.main import run
code = run(["tag", "list", "team/app", "--home", sys.argv[1]])
print(json.dumps([code, list(sys.modules)]), file=sys.stderr)"""

# Data, buckets, signatures, flows, the command line, pages, and connections to other registries.
UNUSED = {
    "boto3", "botocore", "h2", "httpcore", "httpx", "jinja2", "nacl", "numpy", "pandas", "prefect", "psycopg", "psycopg_pool",
    "pyarrow", "pygments", "pysequoia", "rich", "sigstore", "typer", "yaml",
}  # fmt: skip
UNUSED_BY_A_LIST = UNUSED - {"typer"} | {"argon2", "cryptography", "fastapi", "jwt", "starlette", "uvicorn"}
# Parts of the catalogue and of the command line, and the opening of it, that listing tags needs nothing of.
PARTS_UNUSED_BY_A_LIST = {
    "catalog.access", "catalog.blobs", "catalog.catalog", "catalog.commits", "catalog.database", "catalog.lake.connection",
    "catalog.maintenance", "catalog.query", "catalog.remotes", "catalog.retention", "catalog.signing", "catalog.state",
    "catalog.versions.history", "catalog.versions.pins", "catalog.versions.snapshot_cache",
    "cli.administration", "cli.operations", "cli.storage", "filelock", "flows",
}  # fmt: skip


def tops(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def token_for(server: EntrepotServer, client: httpx.Client, scope: str) -> dict[str, str]:
    """Log in as clients do: with the challenge's realm and service, for a token."""
    challenge = client.get("/v2/")
    assert challenge.status_code == 401
    answer = client.get("/token", params={"service": "entrepot", "scope": scope}, auth=server.auth)
    return {"Authorization": f"Bearer {answer.raise_for_status().json()['token']}"}


def push_and_pull(server: EntrepotServer) -> None:
    config, layer = b'{"architecture":"amd64","os":"linux"}', b"layer"
    parts = [
        {"mediaType": kind, "digest": Digest.of(data), "size": len(data)}
        for kind, data in ((mediatypes.OCI_CONFIG, config), (mediatypes.OCI_LAYER_GZIP, layer))
    ]
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": parts[0], "layers": parts[1:]}
    ).encode()
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        client.headers.update(token_for(server, client, "repository:team/app:pull,push"))
        for data in (config, layer):
            answer = client.post("/v2/team/app/blobs/uploads/", params={"digest": Digest.of(data)}, content=data)
            assert answer.status_code == 201, answer.text
        headers = {"Content-Type": mediatypes.OCI_MANIFEST}
        for tag in ("v1", "v2", "v3", "v4", "v5", "v6"):  # the way of writing changes after some commits
            assert client.put(f"/v2/team/app/manifests/{tag}", content=raw, headers=headers).status_code == 201
        assert client.get("/v2/team/app/manifests/v1").content == raw
        assert client.get(f"/v2/team/app/blobs/{Digest.of(layer)}").content == layer
        assert client.get("/v2/team/app/tags/list").json()["tags"][0] == "v1"


@contextmanager
def serve(home: Path, listed: Path) -> Iterator[EntrepotServer]:
    """Serve a home; on leaving, `listed` has the process's modules, and those that the event loop's thread has loaded late."""
    port = free_port()
    command = [sys.executable, "-c", _SERVE, str(listed), "--listen", f"127.0.0.1:{port}", "--home", str(home)]
    with Children(listed.parent) as children:
        child = children.start("entrepot", command)
        yield EntrepotServer(child, port, home).wait_ready()
        child.stop()


@pytest.mark.embedded
def test_a_registry_that_is_pushed_to_and_pulled_from_loads_no_more_than_that_takes(tmp_path: Path) -> None:
    home, listed = tmp_path / "entrepot", tmp_path / "modules.json"
    with serve(home, listed) as server:
        push_and_pull(server)
    modules, _ = json.loads(listed.read_text())
    assert "registry_api.v2.manifest_pushes" in modules
    assert tops(modules) & UNUSED == set()

    ended = subprocess.run([sys.executable, "-c", _LIST, str(home)], capture_output=True, text=True, check=True)
    code, modules = json.loads(ended.stderr)
    assert code == 0
    assert "v1" in ended.stdout
    assert tops(modules) & UNUSED_BY_A_LIST == set()
    assert [name for name in modules if any(f"{name}.".startswith(f"{part}.") for part in PARTS_UNUSED_BY_A_LIST)] == []


def test_the_first_request_of_a_cache_loads_what_it_needs_beside_the_event_loop(tmp_path: Path) -> None:
    home, listed, store = tmp_path / "entrepot", tmp_path / "modules.json", MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "one"}]).digest)
    with Upstream({"team/app": store}) as upstream:
        with open_catalog(read_settings(home=home)) as catalog:
            cache = Distribution("cache", "", NOW, NOW, private=False, remote=upstream.host, fresh_seconds=3600)
            catalog.distributions.put(cache, actor="admin")
        with serve(home, listed) as server:
            assert (
                httpx.get(f"{server.url}/v2/cache/team/app/manifests/v1", trust_env=False, timeout=60).status_code
                == 200
            )
    modules, of_the_loop = json.loads(listed.read_text())
    assert {"httpx", "httpcore"} <= tops(modules)
    assert tops(of_the_loop) & {"httpx", "httpcore", "oci"} == set()
