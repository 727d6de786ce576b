"""A registry with a private repository in it, and an upstream that lies."""

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve
from tests.upstream import Reply, Seen, Upstream

NOW = datetime(2026, 1, 2, tzinfo=UTC)
EVIL = "evil/app"


@dataclass
class Vault:
    """What a private repository holds: an image, by tag `v1`."""

    name: str
    image: Manifest
    store: MemoryStore

    @property
    def layer(self) -> Digest:
        return self.image.layers[0].digest

    @property
    def config(self) -> Digest:
        assert self.image.config is not None
        return self.image.config.digest

    @property
    def digests(self) -> list[Digest]:
        """Layer, config, and the manifest itself."""
        return [self.layer, self.config, self.image.digest]

    def size(self, digest: Digest) -> int:
        return self.image.size if digest == self.image.digest else len(self.store.blobs[digest])


def make_private(catalog: Catalog, name: str) -> None:
    """Let only those with the right pull from a path."""
    catalog.distributions.put(Distribution(name, name, NOW, NOW, private=True), actor="admin")


def make_cache(catalog: Catalog, path: str, remote: str) -> None:
    """Serve another registry publicly below a path."""
    catalog.distributions.put(Distribution(path, "", NOW, NOW, remote=remote, fresh_seconds=0), actor="admin")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry that the tests of one module share, each with names of its own."""
    home = tmp_path_factory.mktemp("security") / "entrepot"
    with serve(home, upstream_attempts=1, sparse_repositories=["sparse/*"]) as running:
        yield running


_numbers = itertools.count(1)


@pytest.fixture
def n() -> int:
    """A number that makes the names of one test its own."""
    return next(_numbers)


@pytest.fixture
def vault(api: Api, n: int) -> Vault:
    store = MemoryStore()
    image = pack_image(store, [{"secret": secrets.token_hex(400)}])
    name = f"vault/app-{n}"
    api.push(name, "v1", store, image)
    make_private(api.catalog, name)
    return Vault(name, image, store)


def lie_on_head(upstream: Upstream) -> None:
    """Answer HEAD of any blob with 200, as one does that has the digest alone."""

    def fault(seen: Seen, good: Reply) -> Reply | None:
        is_lie = seen.route == "blob" and seen.method == "HEAD" and good.status == 404
        return Reply(200, b"", {"content-length": "5"}) if is_lie else None

    upstream.faults.append(fault)


@pytest.fixture
def evil() -> Iterator[Upstream]:
    """An upstream that serves what a test puts into its one repository, and lies about blobs."""
    with Upstream({EVIL: MemoryStore()}) as running:
        lie_on_head(running)
        yield running
