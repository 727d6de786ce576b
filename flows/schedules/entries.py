"""A scheduled deployment as a configuration file has it, one model for each flow: its `request` is that flow's form."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from catalog.parsed_text import explained
from catalog.units import format_duration, parse_duration
from flows import all_flows

if TYPE_CHECKING:
    from flows.pipeline.request import PipelineRequest

DEPLOYMENT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def _pipeline_form() -> "type[PipelineRequest]":
    from flows.pipeline.request import PipelineRequest

    return PipelineRequest


FORMS: Mapping[str, Callable[[], type[BaseModel]]] = {
    "sync-repository": all_flows.SYNC.form,
    "sync-many": all_flows.SYNC_MANY.form,
    "replicate-registry": all_flows.REPLICATE.form,
    "push-repositories": all_flows.PUSH.form,
    "run-pipeline": _pipeline_form,
    "build-image": all_flows.BUILD.form,
    "curate-repository": all_flows.CURATE.form,
    "promote-content": all_flows.PROMOTE.form,
    "restore-version": all_flows.RESTORE.form,
    "sign-content": all_flows.SIGN.form,
    "attest-content": all_flows.ATTEST.form,
    "export-repositories": all_flows.EXPORT.form,
    "import-bundle": all_flows.IMPORT.form,
    "apply-retention": all_flows.RETENTION.form,
    "collect-garbage": all_flows.COLLECT_GARBAGE.form,
    "scrub-blobs": all_flows.SCRUB.form,
    "maintain-catalog": all_flows.MAINTAIN.form,
    "prefetch-content": all_flows.PREFETCH.form,
    "reclaim-space": all_flows.RECLAIM.form,
    "evict-cache": all_flows.EVICT.form,
    "watch-upstream": all_flows.WATCH.form,
}
"""Flow → its form. A test compares it with prefect.yaml, whose chunks of syncs nobody schedules."""


def _check_zone(text: str) -> str:
    if text != "UTC" and text not in available_timezones():
        raise ValueError(f"unknown time zone {text[:40]!r}: expected such as UTC or Europe/Paris")
    return text


class ScheduleEntry(BaseModel):
    """When a deployment runs: by cron, or in intervals."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cron: str = Field("", max_length=100, description="Minute, hour, day, month, weekday: `17 3 * * *`.")
    every: str = Field("", max_length=50, description="Interval instead of `cron`: `6h`.")
    timezone: Annotated[str, AfterValidator(_check_zone)] = Field("UTC", description="Time zone of `cron`.")
    active: bool = Field(default=True, description="Turn this schedule on.")

    @model_validator(mode="after")
    def _check_one(self) -> "ScheduleEntry":
        if bool(self.cron) == bool(self.every):
            raise ValueError("expected either `cron` or `every`")
        if self.cron:
            check_cron(self.cron)
        elif parse_duration(self.every).total_seconds() < _SHORTEST:
            raise ValueError(f"invalid interval: expected at least {_SHORTEST} seconds")
        return self

    @field_validator("every")
    @classmethod
    def _normalise(cls, text: str) -> str:
        return format_duration(explained(parse_duration, text)) if text else text


_SHORTEST, _CRON_FIELDS = 60, 5


def check_cron(text: str) -> None:
    """Raise ValueError for what is no cron schedule. Prefect is not asked: it reads its environment when it is imported."""
    try:
        if len(text.split()) != _CRON_FIELDS:
            raise CronSimError("another number of fields")
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise ValueError("invalid cron: expected minute, hour, day, month, weekday, such as `17 3 * * *`") from None


def schedule_order(entry: ScheduleEntry | None) -> tuple[str, ...]:
    """Return what schedules are sorted by, so that their order tells nothing: Prefect keeps none."""
    return () if entry is None else (entry.cron, entry.every, entry.timezone, str(entry.active))


class DeploymentEntry(BaseModel):
    """A flow with its parameters and schedules; the key of the entry is the name of the deployment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    flow: str
    description: str = Field("", max_length=1000, description="A remark for people.")
    schedules: tuple[ScheduleEntry, ...] = Field(
        (), max_length=20, description="When to run. Default: only on request."
    )
    paused: bool = Field(default=False, description="Turn all schedules off.")
    work_pool: str = Field("", max_length=200, description="Prefect work pool. Default: `entrepot`.")
    request: Any = Field(default_factory=dict, description="Parameters of the flow: the fields of its form.")

    @field_validator("schedules")
    @classmethod
    def _sort(cls, schedules: tuple[ScheduleEntry, ...]) -> tuple[ScheduleEntry, ...]:
        return tuple(sorted(schedules, key=schedule_order))


@cache
def deployment_models() -> tuple[type[DeploymentEntry], ...]:
    """Return one model for each flow, with its form as `request`."""
    return tuple(_model_of(flow, make()) for flow, make in FORMS.items())


def _model_of(flow: str, form: type[BaseModel]) -> type[DeploymentEntry]:
    text: Any = Field(description=f"Fields of the form of {flow}.")
    with suppress(ValidationError):  # a form that needs nothing may be left out
        form()
        text = Field(default_factory=form, description=f"Fields of the form of {flow}.")
    name = "".join(part.capitalize() for part in flow.split("-")) + "Deployment"
    fields: dict[str, Any] = {"flow": (Literal[flow], ...), "request": (form, text)}
    return create_model(name, __base__=DeploymentEntry, __doc__=f"A deployment of the flow {flow}.", **fields)


def written_request(flow: str, request: object) -> object:
    """Return a request as Prefect keeps it: what was set, as the form writes it; as it is where it does not fit."""
    if not isinstance(request, BaseModel):
        try:
            request = FORMS[flow]().model_validate(request)
        except ValidationError:
            return request
    return request.model_dump(mode="json", exclude_unset=True)
