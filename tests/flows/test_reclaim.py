"""Layers that were left upstream are fetched before they are pulled, and give their space back: not those that others hold, or
that upstream has lost."""

from pathlib import Path

import pytest

from tests.cli.commands import Entrepot
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import upload
from tests.servers import Client, DockerRegistry, EntrepotServer

pytestmark = pytest.mark.slow
NAME = "team/app"


@pytest.fixture
def upstream(docker_registry: DockerRegistryFactory) -> DockerRegistry:
    started = docker_registry()
    upload(started, NAME, "v1", "one", "two" * 100_000)
    return started


@pytest.fixture
def server(entrepot: Entrepot, upstream: DockerRegistry, entrepot_server: EntrepotFactory) -> EntrepotServer:
    """A registry with a cache of the upstream at `cache`."""
    entrepot.json("distribution", "create", "cache", "--remote", upstream.host)
    return entrepot_server(entrepot.home)


def _pull(skopeo: Client, server: EntrepotServer, folder: Path) -> None:
    skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/cache/{NAME}:v1", f"dir:{folder}")


def test_a_cache_gives_its_layers_back_and_fetches_them_again(
    entrepot: Entrepot, server: EntrepotServer, upstream: DockerRegistry, skopeo: Client, tmp_path: Path
) -> None:
    _pull(skopeo, server, tmp_path / "first")
    assert entrepot.json("reclaim", "cache/**")["freed"]["blobs"] == 0  # just fetched
    planned = entrepot.json("reclaim", "cache/**", "--keep", "0", "--dry-run")
    assert planned["freed"]["blobs"] == 2
    held, versions = entrepot.json("usage"), entrepot.json("version", "list", f"cache/{NAME}")
    freed = entrepot.json("reclaim", "cache/**", "--keep", "0")
    assert (freed["freed"], freed["kept"]) == (planned["freed"], {})
    after = entrepot.json("usage")
    assert held["held"]["bytes"] - after["held"]["bytes"] == freed["freed"]["bytes"]
    assert after["upstream_bytes"] == freed["freed"]["bytes"]
    assert entrepot.json("version", "list", f"cache/{NAME}") == versions

    _pull(skopeo, server, tmp_path / "again")  # by the same server, which had the files open before
    assert entrepot.json("usage")["upstream_bytes"] == 0

    upstream.child.kill()
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    kept = entrepot.json("reclaim", "cache/**", "--keep", "0")
    assert (kept["freed"]["blobs"], len(kept["kept"])) == (0, 2)
    _pull(skopeo, server, tmp_path / "last")
    assert "HTTP Request" not in server.child.output()  # upstreams sign the addresses of blobs: no log for them
    assert "freed 2 blobs" in entrepot("reclaim", "cache/**", "--keep", "0", "--no-check").stdout


def test_what_another_repository_holds_stays(
    entrepot: Entrepot, server: EntrepotServer, skopeo: Client, tmp_path: Path
) -> None:
    _pull(skopeo, server, tmp_path / "first")
    entrepot.json("curate", "prod/app", f"cache/{NAME}:v1")
    assert entrepot.json("reclaim", "cache/**", "--keep", "0")["freed"]["blobs"] == 0
    assert entrepot.json("reclaim", "cache/**", "prod/*", "--keep", "0", "--dry-run")["freed"]["blobs"] == 2
    assert entrepot.json("reclaim", "nothing/*", "--keep", "0")["freed"]["blobs"] == 0


def test_layers_are_fetched_before_anybody_pulls_them(
    entrepot: Entrepot, upstream: DockerRegistry, entrepot_server: EntrepotFactory, skopeo: Client, tmp_path: Path
) -> None:
    source = f"{upstream.host}/{NAME}"
    entrepot.json("sync", source, "lazy/app", "--policy", "on_demand")
    planned = entrepot.json("prefetch", "lazy/*", "--dry-run")
    assert planned["fetched"]["blobs"] == 2
    assert entrepot.json("prefetch", "lazy/*")["fetched"] == planned["fetched"]
    assert entrepot.json("prefetch", "lazy/*")["fetched"] == {"blobs": 0, "bytes": 0}
    assert entrepot.json("reclaim", "lazy/*", "--keep", "0")["freed"]["blobs"] == 2
    assert entrepot.json("prefetch", "lazy/*")["fetched"] == planned["fetched"]
    upstream.child.kill()
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    server = entrepot_server(entrepot.home)
    skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/lazy/app:v1", f"dir:{tmp_path / 'pulled'}")
    entrepot.json("reclaim", "lazy/*", "--keep", "0", "--no-check")
    failed = entrepot("prefetch", "lazy/*")
    assert failed.returncode == 1
    assert "2 blobs could not be fetched; 0 were, and stay:" in failed.stderr


def test_what_is_streamed_is_never_kept(entrepot: Entrepot, upstream: DockerRegistry) -> None:
    entrepot.json("sync", f"{upstream.host}/{NAME}", "stream/app", "--policy", "streamed")
    result = entrepot.json("prefetch", "stream/*")
    assert (result["fetched"]["blobs"], result["streamed"]) == (0, 2)
