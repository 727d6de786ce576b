"""Memory does not grow with the size of a blob, on its way in or out."""

import concurrent.futures
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from catalog.blobs.ingest_queue import Ingest
from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Commit, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.conftest import EntrepotFactory
from tests.homes import new_home
from tests.on_postgresql import blob_folder
from tests.servers import wait_until

SIZE = 1024 * 1024 * 1024
PIECE = bytes(range(256)) * 4096
ALLOWED = 50 * 1024 * 1024


def _content() -> Iterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


@pytest.mark.slow
def test_a_gigabyte_goes_in_and_out_in_a_few_megabytes(entrepot_server: EntrepotFactory, on_disk: Path) -> None:
    server = entrepot_server(new_home(on_disk / "entrepot", administrator=True), anew=True)
    hasher = hashlib.sha256()
    for piece in _content():
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False, timeout=120) as client:
        small = hashlib.sha256(b"small").hexdigest()
        client.post("/v2/team/app/blobs/uploads/", params={"digest": f"sha256:{small}"}, content=b"small")
        before = server.child.peak_memory()
        location = client.post("/v2/team/app/blobs/uploads/").headers["location"]
        assert client.patch(location, content=_content()).headers["range"] == f"0-{SIZE - 1}"
        assert client.put(location, params={"digest": digest}).status_code == 201
        with client.stream("GET", f"/v2/team/app/blobs/{digest}") as answer:
            assert sum(len(part) for part in answer.iter_raw()) == SIZE
    assert server.child.peak_memory() - before < ALLOWED


ZEROS = Digest("sha256:49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14")
"""Of SIZE bytes of 0, which take no room on disk and which whoever fetches them checks."""


def _hold_zeros(home: Path) -> None:
    """Make a registry that has an image with a layer of SIZE bytes, in a file that is all hole."""
    with open_catalog(read_settings(home=new_home(home))) as catalog:
        now, file = datetime.now(UTC), blob_folder(home) / "sha256" / ZEROS.encoded[:2] / ZEROS.encoded

        def place() -> None:
            file.parent.mkdir(parents=True)
            with file.open("wb") as opened:
                opened.truncate(SIZE)

        catalog._blob_index.ingest([Ingest(ZEROS, SIZE, place, "team/app", "", now.timestamp())], lambda _: None)
        config = b"{}"
        catalog.content.put(config, Digest.of(config), "team/app")
        document = {
            "schemaVersion": 2,
            "mediaType": mediatypes.OCI_MANIFEST,
            "config": {"mediaType": mediatypes.OCI_CONFIG, "digest": Digest.of(config), "size": len(config)},
            "layers": [{"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": ZEROS, "size": SIZE}],
        }
        raw = json.dumps(document).encode()
        made = Descriptor(mediatypes.OCI_MANIFEST, Digest.of(raw), len(raw))
        catalog.content.put(raw, made.digest, "team/app", made.media_type)
        catalog.commits.commit(
            Commit("team/app", "test", (AddManifest(made), SetTag("v1", made.digest)), "id", "test", now)
        )


@pytest.mark.slow
def test_sixteen_clients_of_a_gigabyte_on_demand_cost_upstream_one_get(
    entrepot_server: EntrepotFactory, tmp_path: Path, on_disk: Path
) -> None:
    """One reads it all, the others wait for its end; each is answered from the one fetch."""
    _hold_zeros(tmp_path / "upstream")
    upstream = entrepot_server(tmp_path / "upstream", arguments=("--access-log",))
    home, now = new_home(on_disk / "entrepot"), datetime.now(UTC)
    with open_catalog(read_settings(home=home)) as catalog:
        catalog.distributions.put(
            Distribution("cache", "", now, now, remote=upstream.host, fresh_seconds=3600), actor="test"
        )
    server = entrepot_server(home, anew=True)
    blob = f"{server.url}/v2/cache/team/app/blobs/{ZEROS}"
    assert httpx.get(f"{server.url}/v2/cache/team/app/manifests/v1", trust_env=False).status_code == 200
    before = server.child.peak_memory()

    def read(number: int) -> int:
        wanted = {} if number == 0 else {"Range": f"bytes={SIZE - len(PIECE)}-"}
        with httpx.stream("GET", blob, headers=wanted, trust_env=False, timeout=120) as answer:
            return sum(len(part) for part in answer.iter_raw())

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        sizes = list(threads.map(read, range(16)))
    assert sizes == [SIZE] + [len(PIECE)] * 15
    wait_until(lambda: ZEROS.encoded in upstream.child.output(), 10, "the request is logged")
    lines = upstream.child.output().splitlines()
    assert sum("GET /v2/team/app/blobs/" in line and ZEROS.encoded in line for line in lines) == 1
    assert server.child.peak_memory() - before < ALLOWED
