"""Every flow by reference: it takes the form beside it, and is deployed."""

from collections.abc import Mapping
from typing import Any, get_type_hints

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types
from prefect.utilities.callables import parameter_schema
from pydantic import BaseModel

from flows.all_flows import ALL_FLOWS
from flows.runs.lazy_flow import LazyFlow
from tests.servers import ROOT

DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
OF_NO_COMMAND = {"run-pipeline", "sync-chunk"}


def test_each_is_deployed_by_the_name_of_its_flow() -> None:
    found = {(lazy.flow().name, f"{lazy.flow().fn.__module__}.{lazy.flow().fn.__name__}") for lazy in ALL_FLOWS}
    assert found == {(one["name"], one["entrypoint"]) for one in DEPLOYED if one["name"] not in OF_NO_COMMAND}


@pytest.mark.parametrize("lazy", ALL_FLOWS, ids=lambda lazy: lazy.form().__name__)
def test_it_takes_its_form_and_prefect_shows_the_texts_of_the_form(lazy: LazyFlow[Any, Any]) -> None:
    form, flow = lazy.form(), lazy.flow()
    assert get_type_hints(flow.fn)["request"] is form
    schema = parameter_schema(flow.fn).model_dump()
    shown = schema["definitions"][form.__name__]["properties"]
    assert {name: text(one) for name, one in shown.items()} == descriptions(form)


@pytest.mark.parametrize("one", DEPLOYED, ids=lambda one: str(one["name"]))
def test_the_parameters_of_a_deployment_fit_the_form(one: Mapping[str, Any]) -> None:
    forms = {lazy.flow().name: lazy.form() for lazy in ALL_FLOWS}
    given = [one.get("parameters", {}), *(schedule.get("parameters", {}) for schedule in one.get("schedules", ()))]
    for parameters in given:
        if "request" in parameters and one["name"] in forms:
            forms[one["name"]].model_validate(parameters["request"])


def text(shown: Mapping[str, Any]) -> str:
    return str(shown.get("description", ""))


def descriptions(form: type[BaseModel]) -> dict[str, str]:
    return {name: field.description or "" for name, field in form.model_fields.items()}
