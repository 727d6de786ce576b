"""Deployments that a file declares, on a real Prefect server: made, read back, changed, deleted."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.schedules.entries import DeploymentEntry, deployment_models
from flows.schedules.registered import ScheduledDeployments
from oci.errors import LocalError
from tests.cli.commands import Entrepot, PrefectServer
from tests.homes import new_home
from tests.servers import ROOT, Children

MODELS = {str(model.model_fields["flow"].annotation.__args__[0]): model for model in deployment_models()}  # type: ignore[union-attr]


@pytest.fixture
def client(session_prefect: PrefectServer) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: session_prefect.api_url}), get_client(sync_client=True) as client:
        yield client


def entry(flow: str, **fields: object) -> DeploymentEntry:
    return MODELS[flow].model_validate({"flow": flow, **fields})


def test_a_deployment_is_made_changed_and_deleted_as_its_entry_says(client: SyncPrefectClient) -> None:
    deployments = ScheduledDeployments(client)
    schedules = [{"cron": "17 3 * * *", "timezone": "Europe/Paris"}, {"every": "90m", "active": False}]
    request = {"remotes": ["registry.example/team/**"], "defaults": {"mode": "mirror"}}
    first = entry("sync-many", description="All of team.", schedules=schedules, request=request)
    made = deployments.put("of-a-test", first, own_server=False)

    def found() -> DeploymentEntry:
        (one,) = [one for one in deployments.all() if one.name == "of-a-test"]
        assert (one.flow, one.id, one.note) == ("sync-many", made, "")
        return one.entry

    written = found()
    assert written.schedules == first.schedules
    assert (written.request, written.description, written.paused, written.work_pool) == (
        request,
        "All of team.",
        False,
        "",
    )
    stored = client.read_deployment_by_name("sync-many/of-a-test")
    assert stored.enforce_parameter_schema
    assert "entrepot" in stored.tags
    assert deployments.put("of-a-test", first, own_server=False) == made
    assert found() == written

    changed = entry("sync-many", schedules=[{"cron": "18 3 * * *"}], paused=True, request={**request, "dry_run": True})
    deployments.put("of-a-test", changed, own_server=False)
    assert (found().schedules, found().paused) == (changed.schedules, True)
    assert found().request == {**request, "dry_run": True}
    assert len(client.read_deployment_by_name("sync-many/of-a-test").schedules) == 1

    deployments.delete(made)
    deployments.delete(made)  # what is gone is deleted already
    assert [one for one in deployments.all() if one.name == "of-a-test"] == []


def test_a_work_pool_that_is_not_there_is_told(client: SyncPrefectClient) -> None:
    deployments = ScheduledDeployments(client)
    deployments.check(entry("collect-garbage"))
    with pytest.raises(LocalError, match="no work pool nowhere"):
        deployments.check(entry("collect-garbage", work_pool="nowhere"))


def test_the_example_of_the_docs_is_applied_exported_and_pruned(
    session_prefect: PrefectServer, tmp_path: Path, children: Children
) -> None:
    secret = tmp_path / "deployer"
    secret.write_text("a-secret-of-a-test\n")
    text = (ROOT / "docs" / "entrepot.yaml").read_text().replace("file:/run/secrets/deployer", f"file:{secret}")
    file = tmp_path / "entrepot.yaml"
    file.write_text(text)
    secrets = {"ALICE_PASSWORD": "a-password-of-alice", "HARBOR_SECRET": "a-secret-of-harbor"}
    env = {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url, **secrets}
    entrepot = Entrepot(new_home(tmp_path / "home", administrator=True), children, env)
    done = entrepot.json("apply", str(file), "--yes")
    assert (done["failed"], done["create"]) == (0, len(done["steps"]))
    names = {step["key"] for step in done["steps"] if step["kind"] == "deployments"}
    assert names == {
        "sync-many/nightly-mirrors", "replicate-registry/replica", "run-pipeline/app-pipeline", "collect-garbage/weekly-gc",
    }  # fmt: skip
    assert entrepot.json("apply", str(file), "--plan")["changed"] is False

    exported = tmp_path / "exported.yaml"
    assert entrepot("export-config", "--output", str(exported)).returncode == 0
    again = entrepot("apply", str(exported), "--plan", env={"HARBOR_HOOK_SECRET": secrets["HARBOR_SECRET"]})
    assert again.returncode == 0, again.stdout + again.stderr
    for value in (*secrets.values(), "a-secret-of-a-test"):
        assert value not in exported.read_text()

    file.write_text("")
    pruned = entrepot.json("apply", str(file), "--yes", "--prune")
    assert (pruned["failed"], pruned["remove"]) == (0, len(done["steps"]))
    left = {f"{one['name']}" for one in session_prefect.filter("deployments")}
    assert {name.partition("/")[2] for name in names} & left == set()
    assert os.environ.get("ALICE_PASSWORD") is None
