"""Automations of Prefect's from files: in Prefect's own form, but with names where Prefect wants ids that differ everywhere.

`deployment: FLOW/NAME` stands for `deployment_id`, `block: TYPE/NAME` for `block_document_id`. An automation is known by its
name: applied again, it is replaced.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.utilities.schema_tools.validation import CircularSchemaRefError, validate
from prefect.utilities.schema_tools.validation import ValidationError as SchemaFault
from pydantic import ValidationError

from catalog.parsed_text import describe_faults
from oci.errors import InvalidInput, LocalError

_LARGEST, _MOST = 1024 * 1024, 1000

Find = Callable[[str], UUID]
"""Finds the id that a name stands for; raises InvalidInput for a name of nothing."""


@dataclass(frozen=True, slots=True)
class AppliedAutomation:
    """An automation on the server; `change` is `created` or `replaced`."""

    name: str
    id: str
    change: str


def read_automations(file: Path) -> list[dict[str, Any]]:
    """Return the automations of a YAML or JSON file; raise InvalidInput for one that is none."""
    try:
        if file.stat().st_size > _LARGEST:
            raise InvalidInput(f"{file}: expected {_LARGEST} bytes at most")
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"{file}: {str(error).splitlines()[0][:300]}") from None
    found = document.get("automations", [document]) if isinstance(document, dict) else document
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found) or len(found) > _MOST:
        raise InvalidInput(f"{file}: expected `automations:` with a list of {_MOST} entries at most")
    return found


def with_ids(automation: Mapping[str, Any], *, deployment: Find, block: Find) -> AutomationCore:
    """Return an automation with ids in the place of names; raise InvalidInput, which names what does not fit."""
    name = str(automation.get("name") or "?")[:200]
    actions = automation.get("actions")
    if not isinstance(actions, list) or not all(isinstance(one, dict) for one in actions):
        raise InvalidInput(f"{name}: expected a list of actions")
    filled = [_with_ids(one, {"deployment": deployment, "block": block}) for one in actions]
    try:
        return AutomationCore.model_validate({**automation, "actions": filled})
    except ValidationError as error:
        raise InvalidInput(f"{name}: {describe_faults(error)[:2000]}") from None


def _with_ids(action: Mapping[str, Any], find: Mapping[str, Find]) -> dict[str, Any]:
    filled = dict(action)
    for field, stored in (("deployment", "deployment_id"), ("block", "block_document_id")):
        if field in filled:
            filled[stored] = str(find[field](str(filled.pop(field))))
    return filled


def apply_automations(automations: Sequence[Mapping[str, Any]]) -> list[AppliedAutomation]:
    """Create automations on the server of PREFECT_API_URL, or replace those of the same name; all are checked before the first.

    Raises InvalidInput, and LocalError where Prefect does not answer.
    """
    try:
        with get_client(sync_client=True) as client:
            checked = [with_ids(one, deployment=_deployments(client), block=_blocks(client)) for one in automations]
            for one in checked:
                _check_runs(client, one)
            return [_apply(client, one) for one in checked]
    except (PrefectException, httpx.HTTPError) as error:
        raise LocalError(f"Prefect takes no automation: {str(error).splitlines()[0][:300]}") from None


def _check_runs(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Raise InvalidInput for parameters that a deployment would refuse, which nobody would see when the time has come."""
    for action in automation.actions:
        if isinstance(action, RunDeployment) and action.deployment_id is not None:
            deployment = client.read_deployment(action.deployment_id)
            given = {**deployment.parameters, **(action.parameters or {})}
            fault = parameter_fault(given, deployment.parameter_openapi_schema or {})
            if fault and deployment.enforce_parameter_schema:
                raise InvalidInput(f"{automation.name[:200]}: {deployment.name} refuses its parameters: {fault[:1000]}")


def parameter_fault(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the first thing in a run's parameters that a deployment's schema refuses, or nothing. Pure.

    A value that Prefect fills in from the event (`{{ … }}`) is not known yet, so it is not checked.
    """
    known = {
        name: value
        for name, value in parameters.items()
        if "{{" not in str(value) and "__prefect_kind" not in str(value)
    }
    try:
        errors = validate(known, dict(schema), ignore_required=len(known) < len(parameters))
    except (CircularSchemaRefError, SchemaFault):  # another flow's schema, which Prefect cannot use either
        return ""
    for error in errors:
        # Prefect lets each field that may be left out be null, too.
        causes = [one for one in error.context or () if one.schema != {"type": "null"}]
        cause = causes[0] if len(causes) == 1 else error
        return f"{'.'.join(map(str, cause.absolute_path)) or 'parameters'}: {cause.message}"
    return ""


def _apply(client: SyncPrefectClient, automation: AutomationCore) -> AppliedAutomation:
    found = client.read_automations_by_name(automation.name)
    if not found:
        return AppliedAutomation(automation.name, str(client.create_automation(automation)), "created")
    client.update_automation(found[0].id, automation)
    return AppliedAutomation(automation.name, str(found[0].id), "replaced")


def _deployments(client: SyncPrefectClient) -> Find:
    def find(name: str) -> UUID:
        try:
            return client.read_deployment_by_name(name).id
        except (ObjectNotFound, ValueError):
            raise InvalidInput(f"Prefect has no deployment {name[:200]!r}; expected FLOW/NAME") from None

    return find


def _blocks(client: SyncPrefectClient) -> Find:
    def find(name: str) -> UUID:
        kind, _, document = name.partition("/")
        try:
            return client.read_block_document_by_name(document, kind).id
        except ObjectNotFound:
            raise InvalidInput(
                f"Prefect has no block {name[:200]!r}; expected TYPE/NAME: create it on Prefect's page *Blocks*"
            ) from None

    return find
