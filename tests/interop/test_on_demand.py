"""podman pulls what is fetched for it: layers that a sync left upstream, and whole repositories through a cache."""

from pathlib import Path

import pytest

from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import mirror, upload
from tests.servers import Children, Client, EntrepotServer, wait_until

NAME = "team/app"


def pull(podman: Client, server: EntrepotServer, name: str) -> None:
    podman("rmi", "--all", "--force")
    podman("pull", "--tls-verify=false", f"{server.host}/{name}")


def test_a_sync_on_demand_copies_layers_with_the_first_pull(
    docker_registry: DockerRegistryFactory, entrepot_server: EntrepotFactory, podman: Client, tmp_path: Path
) -> None:
    upstream = docker_registry()
    upload(upstream, NAME, "v1", "one", "two" * 100_000)
    home = tmp_path / "entrepot"
    result = mirror(home, f"{upstream.host}/{NAME}", policy="on_demand")
    assert result.moved_items == 3  # index, image, config
    server = entrepot_server(home)
    pull(podman, server, f"{NAME}:v1")
    upstream.child.kill()
    pull(podman, server, f"{NAME}:v1")


@pytest.fixture
def entrepot(tmp_path: Path, children: Children, session_prefect: PrefectServer) -> Entrepot:
    return Entrepot(tmp_path / "entrepot", children, {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url})


def test_a_cache_makes_repositories_and_outlives_its_upstream(
    docker_registry: DockerRegistryFactory,
    entrepot_server: EntrepotFactory,
    podman: Client,
    skopeo: Client,
    entrepot: Entrepot,
) -> None:
    upstream = docker_registry()
    upload(upstream, NAME, "v1", "first", "layer")
    entrepot.json("distribution", "create", "cache", "--remote", upstream.host, "--freshness", "2s")
    server = entrepot_server(entrepot.home)

    def inspected() -> str:
        done = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{server.host}/cache/{NAME}:v1")
        return done.stdout

    pull(podman, server, f"cache/{NAME}:v1")
    assert [one["name"] for one in entrepot.json("repository", "list")] == [f"cache/{NAME}"]
    moved = upload(upstream, NAME, "v1", "second", "layer")
    wait_until(lambda: inspected().encode() == moved.raw, 20, "the tag is seen to have moved")
    pull(podman, server, f"cache/{NAME}:v1")
    upstream.child.kill()
    for _ in range(2):
        pull(podman, server, f"cache/{NAME}:v1")
    assert [one["operation"] for one in entrepot.json("version", "list", f"cache/{NAME}")] == ["pull-through"] * 4


def test_podman_pulls_by_the_upstreams_name_when_the_cache_is_its_mirror(
    docker_registry: DockerRegistryFactory, entrepot_server: EntrepotFactory, podman: Client, entrepot: Entrepot
) -> None:
    """The lines of docs/mirror.md, with a name that leads nowhere in the place of docker.io."""
    upstream = docker_registry()
    upload(upstream, NAME, "v1", "mirrored", "layer")
    entrepot.json("distribution", "create", "dockerhub", "--remote", upstream.host)
    server = entrepot_server(entrepot.home)
    guide = (Path(__file__).parents[2] / "docs" / "mirror.md").read_text()
    lines = guide.partition("[[registry]]")[2].partition("```")[0]
    lines = lines.replace("docker.io", "upstream.example").replace("registry.example:5080", server.host)
    with Path(podman.env["CONTAINERS_REGISTRIES_CONF"]).open("a") as settings:
        settings.write(f"[[registry]]{lines}insecure = true\n")
    podman("pull", f"upstream.example/{NAME}:v1")
    assert [one["name"] for one in entrepot.json("repository", "list")] == [f"dockerhub/{NAME}"]
