"""Flows whose parameters are fields: how a run is named, and what it says of fields that do not fit."""

import inspect
from typing import Any, cast

import pytest

from flows.curate.restore_request import RestoreRequest
from flows.forms.written_fields import form_of_fields, name_run, written_fields
from flows.storage.reclaim_request import ReclaimRequest
from flows.sync.flow import sync_repository
from flows.sync.request import SyncRequest
from flows.sync_many.request import SyncManyRequest
from oci.errors import InvalidInput

SECRET = "hunter2"  # it is to be seen nowhere


@pytest.mark.parametrize(
    ("template", "form", "fields", "name"),
    [
        ("sync {request.remote}", SyncRequest, {"remote": "registry.example/app"}, "sync registry.example/app"),
        ("sync {request.remote}", SyncRequest, {"remote": "registry.example/App"}, "sync registry.example/App"),
        ("sync {request.remote}", SyncRequest, {}, "sync ?"),
        ("sync {request.name}", SyncManyRequest, {"remotes": ["a.example/b", "a.example/c"]}, "sync a.example/b and 1 more"),
        ("sync {request.name}", SyncManyRequest, {"remotes": []}, "sync ?"),
        ("restore {request.repository} to {request.version}", RestoreRequest, {"repository": "a"}, "restore a to ?"),
        ("reclaim {request.repositories}", ReclaimRequest, {"repositories": list("abcde")}, "reclaim a, b, c and 2 more"),
        ("x {request.repositories.name.more}", ReclaimRequest, {"repositories": "a\n" * 500}, "x"),
        ("x {request.repositories}", ReclaimRequest, {"repositories": "a\n" * 500}, "x " + "a" * 198),
    ],
)  # fmt: skip
def test_a_run_has_a_speaking_name_whatever_its_fields_are(
    template: str, form: Any, fields: dict[str, Any], name: str
) -> None:
    assert name_run(template, form, fields) == name


def test_what_does_not_fit_is_said_without_the_value() -> None:
    with pytest.raises(InvalidInput, match="remote: leave credentials out") as caught:
        form_of_fields(SyncRequest, {"remote": f"user:{SECRET}@registry.example/app", "newest": 0})
    assert SECRET not in str(caught.value)
    assert "newest" in caught.value.message


def test_a_flow_takes_the_fields_of_its_form_by_name_alone() -> None:
    parameters = inspect.signature(cast("Any", sync_repository)).parameters
    assert parameters.keys() == SyncRequest.model_fields.keys()
    assert {one.kind for one in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_only_what_was_set_is_written() -> None:
    request = SyncManyRequest.model_validate(
        {
            "remotes": ["registry.example/app"],
            "defaults": {"mode": "mirror"},
            "syncs": [{"remote": "registry.example/b"}],
        }
    )
    written = written_fields(request)
    assert written == {
        "remotes": ["registry.example/app"], "defaults": {"mode": "mirror"}, "syncs": [{"remote": "registry.example/b"}],
    }  # fmt: skip
    assert form_of_fields(SyncManyRequest, written).items() == request.items()
