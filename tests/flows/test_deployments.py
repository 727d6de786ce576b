"""Registering deployments with a Prefect server that has some already, such as those of an older Entrepôt."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.forms.older_parameters import renew_parameters
from flows.orchestration.deployments import read_deployments, register_deployments
from tests.cli.commands import PrefectServer, give_prefect_database, start_prefect
from tests.servers import Children

GC = "collect-garbage/collect-garbage"
OLD_ENTRYPOINT, OLD_COMMAND = "flows.gc.collect_garbage", "python -m flows.engine"


@pytest.fixture(scope="module")
def prefect(
    module_children: Children, prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> PrefectServer:
    """A server of this module's own, whose deployments are what is tested."""
    return start_prefect(
        module_children, give_prefect_database(tmp_path_factory.mktemp("own") / "home", prefect_database)
    )


@pytest.fixture
def client(prefect: PrefectServer) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: prefect.api_url}), get_client(sync_client=True) as client:
        yield client


def register_as_before(client: SyncPrefectClient) -> None:
    """Register every deployment as an older Entrepôt did: other entrypoints, another command, another version."""
    register_deployments(client)
    for found in client.read_deployments():
        patch(
            client, found, version="0123456789abcdef", entrypoint=OLD_ENTRYPOINT, job_variables={"command": OLD_COMMAND}
        )


def patch(client: SyncPrefectClient, found: DeploymentResponse, **fields: Any) -> None:
    client.request("PATCH", "/deployments/{id}", path_params={"id": found.id}, json=fields)


def schedule_of(found: DeploymentResponse, slug: str) -> DeploymentSchedule:
    return next(schedule for schedule in found.schedules if schedule.slug == slug)


def test_deployments_of_an_older_entrepot_are_replaced(client: SyncPrefectClient) -> None:
    register_as_before(client)
    before = {found.name: found.id for found in client.read_deployments()}
    registered = register_deployments(client)
    assert all(one.changed for one in registered)
    assert {found.name: found.id for found in client.read_deployments()} == before  # hooks and flow runs name them
    for declared in read_deployments():
        (found,) = [one for one in client.read_deployments() if one.name == declared["name"]]
        assert found.entrypoint == declared["entrypoint"]
        assert found.job_variables == declared["work_pool"].get("job_variables", {})
    assert not any(one.changed for one in register_deployments(client))


def test_what_users_decided_of_a_deployment_stays(client: SyncPrefectClient) -> None:
    register_as_before(client)
    found = client.read_deployment_by_name(GC)
    weekly = schedule_of(found, "weekly")
    client.update_deployment_schedule(found.id, weekly.id, active=True, schedule=CronSchedule(cron="1 2 * * *"))
    own = DeploymentScheduleCreate(schedule=CronSchedule(cron="5 5 5 * *"), active=True)
    client.create_deployment_schedules(found.id, [own])
    patch(client, found, paused=True)
    register_deployments(client)
    now = client.read_deployment_by_name(GC)
    shown = {(one.slug, getattr(one.schedule, "cron", ""), one.active) for one in now.schedules}
    assert shown == {("weekly", "1 2 * * *", True), (None, "5 5 5 * *", True)}
    assert now.paused
    assert now.entrypoint != OLD_ENTRYPOINT


def test_a_work_pool_that_users_have_chosen_stays_with_its_variables(client: SyncPrefectClient) -> None:
    register_as_before(client)
    client.create_work_pool(WorkPoolCreate(name="entrepot-docker", type="docker"))
    variables = {"image": "registry.example/entrepot-run", "command": "python -m flows.orchestration.engine"}
    chunk = client.read_deployment_by_name("sync-chunk/sync-chunk")
    patch(client, chunk, work_pool_name="entrepot-docker", job_variables=variables)
    register_deployments(client)
    now = client.read_deployment_by_name("sync-chunk/sync-chunk")
    assert (now.work_pool_name, now.job_variables) == ("entrepot-docker", variables)
    assert now.entrypoint != OLD_ENTRYPOINT
    assert client.read_deployment_by_name(GC).work_pool_name == "entrepot"


def test_a_schedule_that_is_new_in_the_file_is_added(client: SyncPrefectClient) -> None:
    register_as_before(client)
    found = client.read_deployment_by_name(GC)
    client.delete_deployment_schedule(found.id, schedule_of(found, "weekly").id)
    register_deployments(client)
    assert not schedule_of(client.read_deployment_by_name(GC), "weekly").active


def test_patterns_of_schedules_are_spelled_as_they_decided(client: SyncPrefectClient) -> None:
    """In earlier releases the `*` of these crossed parts of paths."""
    register_as_before(client)
    name = "reclaim-space/reclaim-space"
    weekly = schedule_of(client.read_deployment_by_name(name), "weekly")
    request = {"repositories": ["team/*", "cache*", "re:x/.*"], "check": False}
    client.update_deployment_schedule(
        client.read_deployment_by_name(name).id, weekly.id, parameters={"request": request}
    )
    for _ in range(2):
        register_deployments(client)
        found = schedule_of(client.read_deployment_by_name(name), "weekly").parameters
        assert found == {"repositories": ["team/*/**", "cache**", "re:x/.*"], "check": False}


@pytest.mark.parametrize(
    ("flow", "request_", "expected"),
    [
        ("push-repositories", {"paths": ["a/*"], "include": ["v*"]}, {"paths": ["a/*/**"], "include": ["v*"]}),
        ("replicate-registry", {"include": ["a/*/**"], "exclude": ["*x"]}, {"include": ["a/*/**"], "exclude": ["**x"]}),
        ("sync-repository", {"include": ["v*"]}, {"include": ["v*"]}),
        ("evict-cache", {"caches": "no list"}, {"caches": "no list"}),
    ],
)
def test_the_fields_that_are_patterns_of_paths(flow: str, request_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert renew_parameters(flow, {"request": request_}) == expected
    assert renew_parameters(flow, expected) == expected
    assert renew_parameters(flow, {}) == {}
