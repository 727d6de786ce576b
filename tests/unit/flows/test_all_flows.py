"""Every flow by reference: it takes the form beside it, and is deployed."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from flows.console.form_flow import FieldsFlow, parameter_schema_of
from flows.console.form_schema import form_text
from flows.runs.lazy_flow import LazyFlow
from tests.flows_by_reference import ALL_FLOWS
from tests.servers import ROOT

DEPLOYED = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
OF_NO_COMMAND = {"run-pipeline", "sync-chunk"}


def test_each_is_deployed_by_the_name_of_its_flow() -> None:
    found = {(lazy.flow().name, f"{lazy.flow().body.__module__}.{lazy.flow().body.__name__}") for lazy in ALL_FLOWS}
    assert found == {(one["name"], one["entrypoint"]) for one in DEPLOYED if one["name"] not in OF_NO_COMMAND}


@pytest.mark.parametrize("lazy", ALL_FLOWS, ids=lambda lazy: lazy.form().__name__)
def test_it_takes_its_form_and_prefect_shows_the_texts_of_the_form(lazy: LazyFlow[Any, Any]) -> None:
    form, flow = lazy.form(), lazy.flow()
    assert isinstance(flow, FieldsFlow)
    assert flow.form is form
    shown = parameter_schema_of(flow)["properties"]
    assert shown.keys() == form.model_fields.keys()
    for name, field in form.model_fields.items():
        said = form_text(field.description or "", ())
        assert said
        assert shown[name]["description"].startswith(said)


@pytest.mark.parametrize("one", DEPLOYED, ids=lambda one: str(one["name"]))
def test_the_parameters_of_a_deployment_fit_the_form(one: Mapping[str, Any]) -> None:
    forms = {lazy.flow().name: lazy.form() for lazy in ALL_FLOWS}
    given = [one.get("parameters", {}), *(schedule.get("parameters", {}) for schedule in one.get("schedules", ()))]
    for parameters in given:
        if parameters and one["name"] in forms:
            forms[one["name"]].model_validate(parameters)
