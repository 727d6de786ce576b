"""Stored parameters of older releases are read as what they were."""

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flows.forms.older_parameters import renew_parameters
from flows.promote.request import PromoteRequest
from flows.storage.evict_request import EvictRequest
from flows.storage.gc_request import GcRequest
from flows.storage.maintain_request import MaintainRequest
from flows.storage.reclaim_request import ReclaimRequest
from flows.storage.scrub_request import ScrubRequest

REPOSITORIES = {"source": "a", "repository": "b"}


@pytest.mark.parametrize(
    ("form", "older", "now"),
    [
        (GcRequest, {"grace_hours": 24.0, "max_minutes": None}, {}),
        (GcRequest, {"grace_hours": 0, "max_minutes": 1.5}, {"grace": "0h", "time_limit": "1.5m"}),
        (MaintainRequest, {"keep_days": 7, "grace_hours": 2}, {"keep_snapshots": "7d", "grace": "2h"}),
        (ReclaimRequest, {"repositories": ["a"], "keep_hours": 720}, {"repositories": ["a"], "keep": "720h"}),
        (EvictRequest, {"keep_hours": 3}, {"keep": "3h"}),
        (EvictRequest, {"keep_hours": 1 / 3}, {"keep": "20m"}),
        (PromoteRequest, {**REPOSITORIES, "require_age_days": 0.0417}, {**REPOSITORIES, "require_age": "1h2.88s"}),
        (ScrubRequest, {"grace_hours": 3, "older_than": "30d"}, {"grace": "3h", "older_than": "30d"}),
        (PromoteRequest, {**REPOSITORIES, "require_age_days": 7}, {**REPOSITORIES, "require_age": "7d"}),
    ],
)
def test_a_number_of_a_unit_is_read_as_a_duration(
    form: type[BaseModel], older: dict[str, Any], now: dict[str, Any]
) -> None:
    read, expected = form.model_validate(older), form.model_validate(now)
    assert dict(read) == dict(expected)


def test_an_unknown_field_is_refused_still() -> None:
    with pytest.raises(ValidationError):
        GcRequest.model_validate({"grace_weeks": 1})


def test_what_is_said_by_the_name_of_now_counts() -> None:
    assert GcRequest.model_validate({"grace_hours": 1, "grace": "2h"}).grace == "2h"


def test_a_schedule_of_an_earlier_release_gets_the_fields_of_now() -> None:
    stored = {"request": {"repositories": ["cache/*"], "keep_hours": 720}}
    renewed = {"repositories": ["cache/*/**"], "keep": "720h"}
    assert renew_parameters("reclaim-space", stored) == renewed
    assert renew_parameters("reclaim-space", renewed) == renewed
    ReclaimRequest.model_validate(renewed)


def test_a_list_of_keys_is_read_as_one_though_its_field_names_a_policy_now() -> None:
    stored = {**REPOSITORIES, "signed_by": ["release.pub"]}
    renewed = {**REPOSITORIES, "signed_by_key": ["release.pub"]}
    assert renew_parameters("promote-content", stored) == renewed
    assert dict(PromoteRequest.model_validate(stored)) == dict(PromoteRequest.model_validate(renewed))
    assert renew_parameters("promote-content", {"signed_by": "release"}) == {"signed_by": "release"}
