"""Registers what prefect.yaml declares with a Prefect server; what is registered as it stands is left alone."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.process import ProcessWorker

from catalog.prefect.run_parameters import flat_parameters
from flows.console.blocks import register_blocks
from flows.console.form_flow import parameter_schema_of
from flows.forms.older_parameters import renew_parameters
from flows.orchestration.servers.home import WORK_POOL
from oci.errors import LocalError

ENGINE = "python -m flows.orchestration.engine"
_VERSION = "fields-"
"""What the version of a deployment begins with whose schedules hold the fields and patterns of now."""
_WRAPPED = "paths-"
"""The same of those whose schedules hold them within a parameter `request`."""

PREFECT_FILE = Path(__file__).resolve().parent.parent.parent / "prefect.yaml"


@dataclass(frozen=True, slots=True)
class Registered:
    """A deployment on the server; `changed` says whether it was written now."""

    id: UUID
    name: str
    changed: bool


def read_deployments(file: Path = PREFECT_FILE) -> list[dict[str, Any]]:
    """The deployments that a prefect.yaml declares; raise LocalError when it cannot be read."""
    try:
        document = yaml.safe_load(file.read_text())
        return list(document["deployments"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise LocalError(f"{file} declares no deployments: {error}") from None


def job_template() -> dict[str, Any]:
    """The base job template of our pool: what a flow run's process is, no deployment and no flow run has a say in."""
    template = ProcessWorker.get_default_base_job_template()
    template["job_configuration"] |= {"command": ENGINE, "working_dir": None, "stream_output": True}
    del template["job_configuration"][
        "env"
    ]  # an `env` that is there is merged with a deployment's, whatever the variables
    fields = template["variables"]["properties"]
    template["variables"]["properties"] = {name: fields[name] for name in ("name", "labels")}
    return template


def ensure_work_pool(client: SyncPrefectClient, name: str, *, own: bool) -> None:
    """Make the work pool where it is missing; on a server of our own its template is as above, elsewhere as its owner left it."""
    template = job_template()
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        try:
            client.create_work_pool(
                WorkPoolCreate(name=name, type=ProcessWorker.type, base_job_template=template, is_paused=False)
            )
        except ObjectAlreadyExists:
            return
    else:
        if own and name == WORK_POOL and found.base_job_template != template:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def register_deployments(
    client: SyncPrefectClient, file: Path = PREFECT_FILE, *, own: bool = False
) -> list[Registered]:
    """Register every deployment of the file, with its flow's parameters, and the work pools they need."""
    declared = read_deployments(file)
    for name in sorted({one["work_pool"]["name"] for one in declared}):
        ensure_work_pool(client, name, own=own)
    return [_register(client, one) for one in declared]


def register(file: Path = PREFECT_FILE, *, own: bool = False) -> int:
    """Register with the server of PREFECT_API_URL, `own` if it is ours; return how many deployments were written."""
    with get_client(sync_client=True) as client:
        changed = sum(registered.changed for registered in register_deployments(client, file, own=own))
        if changed:
            register_blocks()
        return changed


def _register(client: SyncPrefectClient, declared: Mapping[str, Any]) -> Registered:
    flow: Flow[..., Any] = load_flow_from_entrypoint(declared["entrypoint"], use_placeholder_flow=False)
    schema = parameter_schema_of(flow)
    version, full_name = fingerprint(declared, schema), f"{flow.name}/{declared['name']}"
    try:
        found = client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        found = None
    if found is not None and found.version == version:
        return Registered(found.id, full_name, changed=False)
    contents = {
        "version": version,
        "description": declared.get("description"),
        "entrypoint": declared["entrypoint"],
        "tags": declared.get("tags", []),
        "parameters": declared.get("parameters", {}),
        "parameter_openapi_schema": schema,
        "enforce_parameter_schema": True,
        "work_pool_name": declared["work_pool"]["name"],
        "job_variables": declared["work_pool"].get("job_variables", {}),
        "pull_steps": [],
    }
    schedules = [make_schedule(schedule) for schedule in declared.get("schedules", [])]
    if found is None:
        made = client.create_deployment(
            flow_id=client.create_flow_from_name(flow.name),
            name=declared["name"],
            schedules=schedules,
            paused=False,
            **contents,
        )
        return Registered(made, full_name, changed=True)
    _renew_schedules(client, flow.name, found)
    _replace(client, found, contents, schedules)
    return Registered(found.id, full_name, changed=True)


def _renew_schedules(client: SyncPrefectClient, flow_name: str, found: DeploymentResponse) -> None:
    """Write the parameters of a deployment's schedules as they are written now, if an earlier release registered it.

    It is done before the version says so: killed in between, the next start does it again.
    """
    version = found.version or ""
    if version.startswith(_VERSION):
        return
    for schedule in found.schedules:
        given = schedule.parameters
        parameters = flat_parameters(given) if version.startswith(_WRAPPED) else renew_parameters(flow_name, given)
        if parameters != schedule.parameters:
            client.update_deployment_schedule(found.id, schedule.id, parameters=parameters)


def _replace(
    client: SyncPrefectClient,
    found: DeploymentResponse,
    contents: Mapping[str, Any],
    schedules: Sequence[DeploymentScheduleCreate],
) -> None:
    """Write all of a deployment but what its users decide: its schedules, whether it is paused, and a work pool of their own with
    its job variables. New schedules are added."""
    if found.work_pool_name not in (None, contents["work_pool_name"]):
        contents = {name: value for name, value in contents.items() if name not in ("work_pool_name", "job_variables")}
    client.update_deployment(found.id, DeploymentUpdate.model_validate(contents))
    known = {schedule.slug for schedule in found.schedules}
    if added := [schedule for schedule in schedules if schedule.slug not in known]:
        client.create_deployment_schedules(found.id, added)


def make_schedule(declared: Mapping[str, Any]) -> DeploymentScheduleCreate:
    """A cron schedule as prefect.yaml writes it; inactive unless it says otherwise."""
    return DeploymentScheduleCreate(
        schedule=CronSchedule(cron=declared["cron"], timezone=declared.get("timezone", "UTC")),
        active=declared.get("active", False),
        parameters=declared.get("parameters", {}),
        slug=declared.get("slug"),
    )


def fingerprint(declared: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The version of a deployment: the same as long as its declaration and its flow's parameters are."""
    text = json.dumps([declared, schema], sort_keys=True, default=str)
    return f"{_VERSION}{hashlib.sha256(text.encode()).hexdigest()[:16]}"
