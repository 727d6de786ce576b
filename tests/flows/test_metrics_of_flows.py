"""What `/metrics` says of flows, as a real Prefect server has them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.settings import read_settings
from oci.errors import RemoteUnavailable
from registry_api.metrics.flow_runs import flow_figures, synced_repository
from tests.cli.commands import PrefectServer
from tests.servers import free_port


def make_deployment(prefect: PrefectServer, name: str) -> tuple[str, str]:
    """Return the ids of a deployment of ours and of its flow."""
    flow = prefect.ask("POST", "/flows/", {"name": name})["id"]
    made = prefect.ask("POST", "/deployments/", {"name": name, "flow_id": flow, "tags": ["entrepot"]})
    return made["id"], flow


def make_run(prefect: PrefectServer, deployment: str, state: str, name: str, parameters: dict[str, object]) -> None:
    """Make a run of a deployment in a state."""
    made = prefect.ask("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})
    prefect.ask("POST", f"/flow_runs/{made['id']}/set_state", {"state": {"type": state, "name": name}, "force": True})


@pytest.mark.anyio
async def test_runs_are_told_by_state_deployment_and_repository(prefect: PrefectServer, tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path / "home", prefect_api_url=prefect.api_url)
    before = await flow_figures(settings)
    deployment, _ = make_deployment(prefect, "sync-repository")
    began = datetime.now(UTC) - timedelta(seconds=1)
    for state, name, request in (
        ("COMPLETED", "Completed", {"remote": "registry.example/told/by-remote:v1"}),
        ("COMPLETED", "Completed", {"remote": "registry.example/other", "repository": "told/by-name"}),
        ("FAILED", "Failed", {"remote": "registry.example/told/failed"}),
        ("RUNNING", "Running", {"remote": "registry.example/told/running"}),
        ("SCHEDULED", "Late", {"remote": "registry.example/told/late"}),
    ):
        make_run(prefect, deployment, state, name, dict(request))
    found = await flow_figures(settings)
    for state in ("running", "late"):
        assert found["flow_runs", state] == before["flow_runs", state] + 1
    synced = {key[1] for key in found if key[0] == "sync_last_success_timestamp_seconds"}
    assert {"told/by-remote", "told/by-name"} <= synced
    assert not {"told/failed", "told/running", "told/late"} & synced
    for end in ("success", "failure"):
        assert found[f"flow_last_{end}_timestamp_seconds", "sync-repository"] >= began.timestamp()


@pytest.mark.anyio
async def test_without_prefect_nothing_is_told(tmp_path: Path) -> None:
    assert await flow_figures(read_settings(home=tmp_path / "home")) == {}
    away = read_settings(home=tmp_path / "home", prefect_api_url=f"http://127.0.0.1:{free_port()}/api")
    with pytest.raises(RemoteUnavailable, match="does not answer"):
        await flow_figures(away)


@pytest.mark.parametrize(
    "parameters", [{}, {"request": None}, {"request": {}}, {"remote": "///"}, {"request": {"remote": "///"}}]
)
def test_parameters_that_name_nothing_are_left_out(parameters: dict[str, object]) -> None:
    assert synced_repository(parameters) == ""
