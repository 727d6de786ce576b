"""Automations from files: names become ids, and what does not fit is said before anything is made."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows.console.automations import parameter_fault, read_automations, with_ids
from oci.errors import InvalidInput
from tests.servers import ROOT
from tests.unit.flows.console.test_form_schema import schema_of

DEPLOYMENT, BLOCK = uuid4(), uuid4()
TRIGGER = {"type": "event", "posture": "Reactive", "expect": ["entrepot.version.created"], "threshold": 1, "within": 0}


def made(**fields: Any) -> Any:
    def find(known: str, found: UUID) -> Any:
        def by_name(name: str) -> UUID:
            if name != known:
                raise InvalidInput(f"there is no {name}")
            return found

        return by_name

    document = {"name": "n", "trigger": TRIGGER, "actions": [], **fields}
    return with_ids(document, deployment=find("a/b", DEPLOYMENT), block=find("webhook/x", BLOCK))


def test_names_become_ids() -> None:
    run = {"type": "run-deployment", "deployment": "a/b", "parameters": {"x": 1}}
    call = {"type": "call-webhook", "block": "webhook/x", "payload": "{}"}
    first, second = made(actions=[run, call]).actions
    assert (first.deployment_id, first.parameters) == (DEPLOYMENT, {"x": 1})
    assert second.block_document_id == BLOCK


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"actions": "none"}, "n: expected a list of actions"),
        ({"actions": [{"type": "run-deployment", "deployment": "c/d"}]}, "there is no c/d"),
        ({"actions": [{"type": "run-deployment"}]}, "deployment_id"),
        ({"trigger": {"type": "event", "within": -1}}, "within"),
    ],
)
def test_what_does_not_fit_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        made(**fields)


@pytest.mark.parametrize(
    "text", ["automations: 1", "- 1", "- [", "{automations: [x]}", "", "!!python/object:os.system x"]
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInput):
        read_automations(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"not\.yaml"):
        read_automations(tmp_path / "not.yaml")


def test_the_files_that_come_with_us_are_read() -> None:
    counts = {file.name: len(read_automations(file)) for file in (ROOT / "deploy" / "automations").iterdir()}
    assert counts == {"rebuild.yaml": 3, "failure.yaml": 1, "stale.yaml": 1}


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"source": "a", "repository": "b"}, ""),
        ({"source": "a"}, "'repository' is a required property"),
        ({"source": "a", "repository": "b", "tags": "latest"}, "tags: 'latest' is not of type 'array'"),
        ({"source": "a", "repository": "b", "tag": "latest"}, "'tag' was unexpected"),
        ({"source": "{{ event.resource['entrepot.repository'] }}", "repository": "b"}, ""),
        ({"source": {"__prefect_kind": "jinja", "template": "{{ a }}"}, "tags": 1}, "tags: 1 is not of type 'array'"),
    ],
)
def test_what_a_deployment_would_refuse_is_found(parameters: dict[str, Any], said: str) -> None:
    fault = parameter_fault(parameters, schema_of("promote-content"))
    assert (said in fault) if said else fault == ""


def test_runs_of_the_files_that_come_with_us_fit_their_deployments() -> None:
    documents = [one for file in (ROOT / "deploy" / "automations").iterdir() for one in read_automations(file)]
    runs = [action for one in documents for action in one["actions"] if action["type"] == "run-deployment"]
    assert len(runs) == 3
    for run in runs:
        assert parameter_fault(run["parameters"], schema_of(run["deployment"].partition("/")[0])) == ""
