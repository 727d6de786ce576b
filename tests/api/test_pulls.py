"""What counts as a pull, where the counts are to be read, and what a writer that fails or is killed loses."""

from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.pull_counts import PullCount, Pulled, Pulls
from catalog.settings import read_settings
from oci.digest import Digest
from oci.errors import CatalogUnusable
from tests.api.conftest import Api, serve, simple_manifest
from tests.cli.commands import Entrepot
from tests.conftest import EntrepotFactory
from tests.servers import Children, EntrepotServer, wait_until

NAME = "team/app"
MANIFEST = f"/v2/{NAME}/manifests"


def _push(api: Api, tag: str = "v1") -> Digest:
    raw = simple_manifest(api, NAME)
    assert api.put_manifest(NAME, tag, raw).status_code == 201
    return Digest.of(raw)


def _counts(catalog: Catalog) -> dict[tuple[str, str], int]:
    return {key: count.pulls for key, count in catalog.pulls.read_one(NAME).items()}


def test_gets_of_manifests_are_pulls_and_nothing_else_is(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", pulls_flush_seconds=3600) as api:
        digest = _push(api)
        for _ in range(3):
            assert api.anybody.get(f"{MANIFEST}/v1").status_code == 200
        assert api.anybody.get(f"{MANIFEST}/{digest}").status_code == 200
        unchanged = api.anybody.get(f"{MANIFEST}/v1", headers={"If-None-Match": f'"{digest}"'})
        assert unchanged.status_code == 304  # whoever asks that has it, and uses it
        for path, status in ((f"{MANIFEST}/v1", 200), (f"{MANIFEST}/v2", 404)):
            assert api.anybody.head(path).status_code == status
        assert api.anybody.get(f"{MANIFEST}/v2").status_code == 404
        assert api.anybody.get(f"/v2/{NAME}/tags/list").status_code == 200
        assert api.catalog.pulls.read_one(NAME) == {}
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:  # written when it stopped
        assert _counts(catalog) == {("v1", digest): 4, ("", digest): 1}
        assert [version.operation for version in catalog.history.versions(NAME)] == ["push"]


def test_counts_are_written_soon_and_told_by_the_management_api(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot", pulls_flush_seconds=0.05) as api:
        digest = _push(api)
        _push(api, "v2")
        api.anybody.get(f"{MANIFEST}/v1")
        api.anybody.get(f"{MANIFEST}/{digest}")
        wait_until(lambda: sum(_counts(api.catalog).values()) == 2, 10, "pulls are written")
        pulled, never = api.admin.get(f"/api/v1/tags/{NAME}").json()
        assert (pulled["tag"], pulled["pulls"], never["pulls"]) == ("v1", 2, 0)
        assert pulled["last_pulled_at"] is not None
        assert never["last_pulled_at"] is None


def test_a_registry_that_is_read_only_counts_on(tmp_path: Path) -> None:
    with serve(tmp_path / "entrepot") as api:
        digest = _push(api)
    with serve(tmp_path / "entrepot", read_only=True) as api:
        api.anybody.get(f"{MANIFEST}/v1")
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        assert _counts(catalog) == {("v1", digest): 1}


def test_what_cannot_be_written_is_kept_and_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    record = Pulls.record
    fails = [True]

    def recorded(pulls: Pulls, counts: Mapping[Pulled, PullCount]) -> None:
        if fails[0]:
            raise CatalogUnusable("a fault of the test")
        record(pulls, counts)

    monkeypatch.setattr(Pulls, "record", recorded)
    with serve(tmp_path / "entrepot", pulls_flush_seconds=0.05) as api:
        digest = _push(api)
        for _ in range(3):
            assert api.anybody.get(f"{MANIFEST}/v1").status_code == 200
        wait_until(lambda: caplog.text.count("writing pulls failed") >= 2, 10, "it is tried again")
        fails[0] = False
        wait_until(lambda: _counts(api.catalog) == {("v1", digest): 3}, 10, "pulls are written")


@pytest.fixture
def image(tmp_path: Path) -> Digest:
    with serve(tmp_path / "entrepot") as api:
        return _push(api)


def _pull(server: EntrepotServer, times: int) -> None:
    with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        for _ in range(times):
            assert client.get(f"{MANIFEST}/v1").status_code == 200


@pytest.mark.slow
def test_a_killed_process_loses_only_what_was_not_written(
    tmp_path: Path, image: Digest, entrepot_server: EntrepotFactory, children: Children
) -> None:
    server = entrepot_server(tmp_path / "entrepot", env={"ENTREPOT_PULLS_FLUSH_SECONDS": "0.2"})
    entrepot = Entrepot(tmp_path / "entrepot", children)

    def written(catalog: Catalog) -> Callable[[], int]:
        return lambda: _counts(catalog).get(("v1", image), 0)

    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        _pull(server, 20)
        wait_until(lambda: written(catalog)() == 20, 10, "pulls are written")
        _pull(server, 5)
        server.child.kill()
        assert 20 <= written(catalog)() <= 25
        kept = written(catalog)()
        server.restart()
        _pull(server, 7)
        server.child.stop()  # which writes at once
        assert written(catalog)() == kept + 7
    listed = entrepot.json("tag", "list", NAME)["tags"]
    assert [(row["tag"], row["pulls"]) for row in listed] == [("v1", kept + 7)]
    assert listed[0]["last_pulled_at"]
    text = entrepot("tag", "list", NAME).stdout.splitlines()
    assert text[0].split()[-3:] == ["PULLS", "LAST", "PULLED"]
    assert text[1].split()[3] == str(kept + 7)


@pytest.mark.slow
def test_several_processes_count_together(tmp_path: Path, image: Digest, entrepot_server: EntrepotFactory) -> None:
    env = {"ENTREPOT_SERVER_PROCESSES": "2"}
    server = entrepot_server(tmp_path / "entrepot", env=env)
    for _ in range(20):  # each a connection of its own, so that both processes get some
        _pull(server, 2)
    server.child.stop()
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        assert _counts(catalog) == {("v1", image): 40}
