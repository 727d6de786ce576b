"""Restoring a version: by the command, recorded by Prefect, while a pinned path serves the old version to skopeo."""

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.servers import Client
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.slow
NAME = "team/app"


@pytest.fixture(autouse=True)
def filled(entrepot: Entrepot) -> None:
    """Three versions: `a` is set, then moved, then `b` is set."""
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        push_image(catalog, NAME, "a", "one")
        push_image(catalog, NAME, "a", "two")
        push_image(catalog, NAME, "b", "three")


def opened(entrepot: Entrepot) -> Catalog:
    return open_catalog(read_settings(home=entrepot.home))


def test_restore_while_a_pinned_path_serves(
    entrepot: Entrepot, prefect: PrefectServer, entrepot_server: EntrepotFactory, skopeo: Client
) -> None:
    server = entrepot_server(entrepot.home)
    with opened(entrepot) as catalog:
        digests = [catalog.snapshots.get(NAME, number).tags["a"] for number in (1, 2)]

    def digest_at(path: str) -> str:
        shown = skopeo("inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{server.host}/{path}:a")
        return shown.stdout.strip()

    made = entrepot.json("distribution", "create", "before/app", NAME, "--version", "2")
    assert (made["repository"], made["version"]) == (NAME, 2)
    planned = entrepot.json("version", "restore", NAME, "1", "--dry-run")
    assert (planned["version"], planned["changed"], planned["tags"]) == (3, False, {"a": "moved", "b": "removed"})
    assert digest_at(NAME) == digests[1]

    result = entrepot.json("version", "restore", NAME, "1")
    assert (result["version"], result["base_version"], result["changed"]) == (4, 3, True)
    assert (digest_at(NAME), digest_at("before/app")) == tuple(digests)
    with opened(entrepot) as catalog:
        restored, wanted = catalog.snapshots.get(NAME), catalog.snapshots.get(NAME, 1)
        assert (restored.tags, restored.manifests, restored.blobs) == (wanted.tags, wanted.manifests, wanted.blobs)
        row = catalog.history.version(NAME, 4)
    assert (row.operation, row.flow_run_id) == ("restore", result["flow_run_id"])
    run = prefect.flow_run(result["flow_run_id"])
    assert run["state"]["message"].startswith(f"{NAME}: version 4; 1 moved, 1 removed")
    assert "table" in prefect.artifacts(result["flow_run_id"])
    again = entrepot.json("version", "restore", NAME, "1")
    assert (again["version"], again["changed"]) == (4, False)


@pytest.mark.parametrize(("arguments", "said"), [((NAME, "9"), "version 9"), (("team/none", "1"), "team/none")])
def test_what_is_not_there_cannot_be_restored(entrepot: Entrepot, arguments: tuple[str, str], said: str) -> None:
    done = entrepot("version", "restore", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    with opened(entrepot) as catalog:
        assert catalog.snapshots.get(NAME).version == 3


def test_distributions_by_command(entrepot: Entrepot) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = entrepot("distribution", *arguments)
        assert done.returncode == code, done.stderr
        return done.stdout or done.stderr

    assert "serves team/app, latest, private" in run("create", "stable/app", NAME, "--private")
    assert "is a distribution already" in run("create", "stable/app", NAME, code=1)
    assert "no version 9" in run("set", "stable/app", "--version", "9", code=1)
    assert "team/none" in run("create", "other/app", "team/none", code=1)
    assert "version 2, public" in run("set", "stable/app", "--version", "2", "--public")
    shown = entrepot.json("distribution", "show", "stable/app")
    assert (shown["version"], shown["private"]) == (2, False)
    assert "latest" in run("set", "stable/app", "--latest")
    assert [one["path"] for one in entrepot.json("distribution", "list")] == ["stable/app", NAME]
    run("delete", "stable/app")
    assert "stable/app" in run("show", "stable/app", code=1)
