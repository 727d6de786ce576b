"""A real docker-registry, filled by skopeo and oras, is stopped and migrated; clients pull the same from us. Kills in between."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from oci.memory import MemoryStore
from oci.pack import pack_artifact, pack_image, pack_index
from oci.platform import Platform
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.flows.migrate.migrate_once import migrate_once
from tests.folders import data_path, write_layout, write_repository
from tests.homes import new_home
from tests.servers import Children, Client, DockerRegistry, get, run_command, tool, wait_until

AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image layout with an image, and an index of two platforms."""
    store = MemoryStore()
    amd = pack_image(store, [{"file": "amd"}], platform=AMD)
    arm = pack_image(store, [{"file": "arm"}], platform=ARM)
    index = pack_index(store, [(amd, AMD), (arm, ARM)])
    store.put_tag("v1", amd.digest)
    store.put_tag("multi", index.digest)
    write_layout(tmp_path / "layout", store)
    return tmp_path / "layout"


def fill(registry: DockerRegistry, skopeo: Client, layout: Path) -> None:
    for name, tag in (("team/app", "v1"), ("team/app", "multi"), ("tool", "v1")):
        target = f"docker://{registry.host}/{name}:{tag}"
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{layout}:{tag}", target)


def raw(skopeo: Client, host: str, name: str) -> str:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{host}/{name}").stdout


def test_what_clients_pushed_there_they_pull_here(
    docker_registry: DockerRegistryFactory,
    entrepot_server: EntrepotFactory,
    skopeo: Client,
    layout: Path,
    tmp_path: Path,
) -> None:
    registry, home = docker_registry(), new_home(tmp_path / "entrepot", administrator=True)
    fill(registry, skopeo, layout)
    (tmp_path / "sbom.json").write_text("{}")
    subject = f"{registry.host}/team/app:v1"
    attach = [tool("oras"), "attach", "--plain-http", "--artifact-type", "application/spdx+json", subject]
    attached = run_command([*attach, "--disable-path-validation", f"{tmp_path / 'sbom.json'}:application/spdx+json"])
    assert attached.returncode == 0, attached.stdout + attached.stderr
    names = ("team/app:v1", "team/app:multi", "tool:v1")
    before = {name: raw(skopeo, registry.host, name) for name in names}
    tags = sorted(get(f"{registry.url}/v2/team/app/tags/list").json()["tags"])
    registry.child.stop()

    result = migrate_once(home, registry.storage)
    assert result.is_equal
    assert {one.planned.target: one.outcome for one in result.repositories} == {
        "team/app": "migrated",
        "tool": "migrated",
    }

    server = entrepot_server(home)
    assert {name: raw(skopeo, server.host, name) for name in names} == before
    assert sorted(get(f"{server.url}/v2/team/app/tags/list").json()["tags"]) == tags
    digest = skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{server.host}/team/app:v1")
    referrers = get(f"{server.url}/v2/team/app/referrers/{digest.stdout.strip()}").json()["manifests"]
    assert [one["artifactType"] for one in referrers] == ["application/spdx+json"]
    skopeo("copy", "--all", "--src-tls-verify=false", f"docker://{server.host}/team/app:multi", f"dir:{tmp_path}/out")


@pytest.mark.slow
def test_the_command_plans_migrates_and_names_what_is_broken(
    entrepot: Entrepot,
    prefect: PrefectServer,
    docker_registry: DockerRegistryFactory,
    skopeo: Client,
    layout: Path,
) -> None:
    registry = docker_registry()
    fill(registry, skopeo, layout)
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:v1", f"docker://{registry.host}/broken:v1")
    manifest = json.loads(raw(skopeo, registry.host, "broken:v1"))
    registry.child.stop()
    links = registry.storage / "docker/registry/v2/repositories/broken/_manifests/tags/v1/current/link"
    links.write_text("sha256:" + "0" * 64)
    assert manifest["layers"]
    plan = entrepot.json("migrate", "docker-registry", str(registry.storage), "--dry-run")
    assert {one["repository"]: (one["outcome"], one["fault_count"]) for one in plan["repositories"]} == {
        "broken": ("to migrate", 1),
        "team/app": ("to migrate", 0),
        "tool": ("to migrate", 0),
    }
    shown = entrepot("migrate", "docker-registry", str(registry.storage))
    assert shown.returncode == 1
    assert "1 repositories are not as at the source" in shown.stderr
    assert "broken: 1 broken" in shown.stderr
    result = entrepot.json("migrate", "docker-registry", str(registry.storage), code=1)
    assert {one["repository"]: one["outcome"] for one in result["repositories"]} == {
        "broken": "failed",
        "team/app": "unchanged",
        "tool": "unchanged",
    }
    skipping = entrepot.json("migrate", "docker-registry", str(registry.storage), "--on-error", "skip")
    assert skipping["equal"]
    run = prefect.flow_run(skipping["flow_run_id"])
    assert (run["state"]["type"], run["name"]) == ("COMPLETED", f"migrate {registry.storage}")
    refused = entrepot("migrate", "docker-registry", str(layout))
    assert (refused.returncode, "no storage folder of docker-registry" in refused.stderr) == (2, True)


def test_killed_in_the_middle_it_goes_on_and_copies_nothing_twice(children: Children, tmp_path: Path) -> None:
    folder, store, home = tmp_path / "registry", MemoryStore(), new_home(tmp_path / "entrepot", administrator=True)
    blobs = [("application/octet-stream", os.urandom(2_000_000)) for _ in range(60)]
    artifact = pack_artifact(store, "application/vnd.test", blobs)
    store.put_tag("v1", artifact.digest)
    write_repository(folder, "big", store)
    once = [sys.executable, "-m", "tests.flows.migrate.migrate_once", str(home), str(folder)]
    command = children.start("migrate", once)

    names = {layer.digest.encoded for layer in artifact.layers}
    wait_until(lambda: _count(home, names) >= 5 or not command.running, 240, "some blobs are here")
    command.signal(signal.SIGKILL)
    command.kill()
    with open_catalog(read_settings(home=home)) as catalog:
        assert catalog.snapshots.find("big") is None
        here = sum(catalog.content.size(one.digest) is not None for one in artifact.layers)
    assert 5 <= here < 60
    result = migrate_once(home, folder)
    assert result.is_equal
    assert 0 < result.repositories[0].copied < (60 - here + 1) * 2_000_000
    assert data_path(folder, artifact.layers[0].digest).exists()


def _count(folder: Path, names: set[str]) -> int:
    """The files of these names: a blob gets its name when it is verified and kept."""
    return sum(path.name in names for path in folder.rglob("*"))
