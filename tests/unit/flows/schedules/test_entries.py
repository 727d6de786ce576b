"""Deployments that a file may declare: of each flow that comes with us, and no other."""

from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint

from flows.console.form_flow import FieldsFlow
from flows.orchestration.deployments import read_deployments
from flows.schedules.entries import FORMS, written_request

CHUNKS = "sync-chunk"
"""Started by other flows alone."""


def test_every_flow_that_comes_with_us_can_be_scheduled() -> None:
    declared = {one["name"]: one["entrypoint"] for one in read_deployments()}
    assert declared.keys() - {CHUNKS} == set(FORMS)
    for name in FORMS:
        flow: Flow[..., Any] = load_flow_from_entrypoint(declared[name], use_placeholder_flow=False)
        assert flow.name == name
        assert isinstance(flow, FieldsFlow)
        assert flow.form is FORMS[name]()


def test_a_request_is_written_in_one_way() -> None:
    assert written_request("evict-cache", {"keep": "60m"}) == written_request(
        "evict-cache", FORMS["evict-cache"]()(keep="60m")
    )
    assert written_request("collect-garbage", {"grace": 5, "unknown": 1}) == {"grace": 5, "unknown": 1}
