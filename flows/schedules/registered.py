"""Deployments of our flows on a Prefect server: read, written as a file declares them, deleted. Imports Prefect."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.flows import Flow, load_flow_from_entrypoint

from catalog.prefect.run_parameters import flat_parameters
from catalog.units import format_duration, parse_duration
from flows.console.form_flow import parameter_schema_of
from flows.orchestration.deployments import ensure_work_pool, read_deployments
from flows.schedules.entries import FORMS, DeploymentEntry, ScheduleEntry, schedule_order, written_request
from oci.errors import LocalError

TAG = "entrepot"
_PAGE = 200


@dataclass(frozen=True, slots=True)
class DeclaredDeployment:
    """A deployment as a file has it, or would have it. `note` says what of it a file cannot say."""

    id: str
    flow: str
    name: str
    entry: DeploymentEntry
    note: str = ""


class ScheduledDeployments:
    """Deployments of our flows besides those that come with us; used within `open_deployments`."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        self._shipped = {one["name"]: one for one in read_deployments()}

    def all(self) -> list[DeclaredDeployment]:
        """Return every one by flow and name."""
        with _explained("read the deployments"):
            flows = {flow.id: flow.name for flow in self._pages(self._client.read_flows)}
            found = [
                _declared(one, flows[one.flow_id], self._pool_of(flows[one.flow_id]))
                for one in self._pages(self._client.read_deployments)
                if flows.get(one.flow_id) in FORMS and one.name != flows[one.flow_id]
            ]
        return sorted(found, key=lambda one: (one.flow, one.name))

    def unlisted_schedules(self) -> list[str]:
        """Return the deployments that come with us and have schedules that somebody has switched on: no file says these."""
        with _explained("read the deployments"):
            flows = {flow.id: flow.name for flow in self._pages(self._client.read_flows)}
            return sorted(
                f"{flows[one.flow_id]}/{one.name}"
                for one in self._pages(self._client.read_deployments)
                if flows.get(one.flow_id) in FORMS
                and one.name == flows[one.flow_id]
                and _is_changed(one.schedules, self._shipped[one.name].get("schedules", []))
            )

    @staticmethod
    def _pages(read: Any) -> Iterator[Any]:
        offset = 0
        while page := read(limit=_PAGE, offset=offset):
            yield from page
            offset += len(page)

    def _pool_of(self, flow: str) -> str:
        return str(self._shipped[flow]["work_pool"]["name"])

    def check(self, entry: DeploymentEntry) -> None:
        """Raise LocalError where a deployment names a work pool that is not there."""
        if not entry.work_pool or entry.work_pool == self._pool_of(entry.flow):
            return
        with _explained(f"read the work pool {entry.work_pool}"):
            try:
                self._client.read_work_pool(entry.work_pool)
            except ObjectNotFound:
                raise LocalError(f"Prefect has no work pool {entry.work_pool}; create it, or name another") from None

    def put(self, name: str, entry: DeploymentEntry, *, own_server: bool) -> str:
        """Create a deployment, or make the one of that flow and name as the entry says; return its id. Raise LocalError."""
        shipped = self._shipped[entry.flow]
        flow: Flow[..., Any] = load_flow_from_entrypoint(shipped["entrypoint"], use_placeholder_flow=False)
        pool = entry.work_pool or self._pool_of(entry.flow)
        contents = {
            "description": entry.description,
            "entrypoint": shipped["entrypoint"],
            "tags": [TAG],
            "parameters": written_request(entry.flow, entry.request),
            "parameter_openapi_schema": parameter_schema_of(flow),
            "enforce_parameter_schema": True,
            "work_pool_name": pool,
            "job_variables": shipped["work_pool"].get("job_variables", {}) if pool == self._pool_of(entry.flow) else {},
            "pull_steps": [],
        }
        schedules = [_schedule(one) for one in entry.schedules]
        with _explained(f"write the deployment {entry.flow}/{name}"):
            if pool == self._pool_of(entry.flow):
                ensure_work_pool(self._client, pool, own=own_server)
            try:
                found = self._client.read_deployment_by_name(f"{entry.flow}/{name}")
            except ObjectNotFound:
                flow_id = self._client.create_flow_from_name(entry.flow)
                return str(
                    self._client.create_deployment(
                        flow_id=flow_id, name=name, schedules=schedules, paused=entry.paused, **contents
                    )
                )
            self._client.update_deployment(found.id, DeploymentUpdate.model_validate(contents))
            if _schedule_entries(found.schedules) != entry.schedules:
                self._replace_schedules(found.id, found.schedules, schedules)
            if found.paused != entry.paused:
                (self._client.pause_deployment if entry.paused else self._client.resume_deployment)(found.id)
            return str(found.id)

    def _replace_schedules(
        self, deployment: UUID, old: Sequence[DeploymentSchedule], new: Sequence[DeploymentScheduleCreate]
    ) -> None:
        """Create the new schedules before deleting the old: a kill in between leaves too many, which the next apply repairs."""
        if new:
            self._client.create_deployment_schedules(deployment, list(new))
        for schedule in old:
            self._client.delete_deployment_schedule(deployment, schedule.id)

    def delete(self, deployment: str) -> None:
        """Delete a deployment, with the runs that it has scheduled; one that is gone is deleted already."""
        with _explained(f"delete the deployment {deployment}"):
            try:
                self._client.delete_deployment(UUID(deployment))
            except ObjectNotFound:
                return


@contextmanager
def open_deployments() -> Iterator[ScheduledDeployments]:
    """Yield the deployments of the server of PREFECT_API_URL."""
    with get_client(sync_client=True) as client:
        yield ScheduledDeployments(client)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (PrefectException, httpx.HTTPError) as error:
        raise LocalError(f"Prefect cannot {what}: {str(error).splitlines()[0][:300]}") from None


def _schedule(entry: ScheduleEntry) -> DeploymentScheduleCreate:
    made = (
        CronSchedule(cron=entry.cron, timezone=entry.timezone)
        if entry.cron
        else IntervalSchedule(interval=parse_duration(entry.every), timezone=entry.timezone)
    )
    return DeploymentScheduleCreate(schedule=made, active=entry.active)


def _declared(found: DeploymentResponse, flow: str, usual_pool: str) -> DeclaredDeployment:
    schedules = _schedule_entries(found.schedules)
    request = written_request(flow, flat_parameters(found.parameters))
    pool = found.work_pool_name or ""
    entry = DeploymentEntry.model_construct(
        flow=flow,
        description=found.description or "",
        schedules=tuple(one for one in schedules if one is not None),
        paused=found.paused,
        work_pool="" if pool == usual_pool else pool,
        request=request,
    )
    untold = "a schedule that is neither cron nor interval, or has parameters" if None in schedules else ""
    return DeclaredDeployment(str(found.id), flow, found.name, entry, untold)


def _schedule_entries(schedules: Sequence[DeploymentSchedule]) -> "tuple[ScheduleEntry | None, ...]":
    """Return schedules as a file has them, None for one that it cannot say; in one order, for Prefect keeps none."""
    return tuple(sorted(map(_schedule_entry, schedules), key=schedule_order))


def _schedule_entry(found: DeploymentSchedule) -> ScheduleEntry | None:
    kind = found.schedule
    fields: dict[str, Any] = {"timezone": getattr(kind, "timezone", None) or "UTC", "active": found.active}
    if found.parameters:
        return None
    if isinstance(kind, CronSchedule):
        return ScheduleEntry.model_construct(cron=kind.cron, every="", **fields)
    if isinstance(kind, IntervalSchedule):
        return ScheduleEntry.model_construct(cron="", every=format_duration(kind.interval), **fields)
    return None


def _is_changed(found: Sequence[DeploymentSchedule], shipped: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether schedules are others than those that come with us: somebody has made, moved or switched one."""
    as_shipped = {(one.get("slug"), one["cron"], bool(one.get("active", False))) for one in shipped}
    now = {(one.slug, getattr(one.schedule, "cron", ""), one.active) for one in found}
    return any(one not in as_shipped for one in now if one[2])
