"""`entrepot push` as a user runs it: its flow run, its table, its words; and forms that it refuses."""

import json

import pytest
from pydantic import ValidationError

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from flows.push.request import PushRequest
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory
from tests.unit.catalog.conftest import push_image


@pytest.mark.slow
def test_the_command_pushes_and_prefect_shows_it(
    entrepot: Entrepot, prefect: PrefectServer, docker_registry: DockerRegistryFactory
) -> None:
    registry = docker_registry(auth=True)
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for name, tag in (("team/app", "v1"), ("team/app", "v2"), ("team/tool", "v1")):
            push_image(catalog, name, tag, f"{name} {tag}", ("shared", tag))
    refused = entrepot("push", f"{registry.host}/mirror")
    assert refused.returncode == 1
    assert "wants a login" in refused.stderr
    entrepot.env["ENTREPOT_LOGINS"] = json.dumps({registry.host: registry.creds})
    planned = entrepot("push", "team/app", f"{registry.host}/one/app", "--newest", "1", "--dry-run")
    assert "team/app  v2   added" in planned.stdout
    assert "dry run of 1 path" in planned.stdout
    result = entrepot.json("push", f"{registry.host}/mirror", "--path", "team/*")
    assert result["tags"] == {"added": 3}
    assert [one["target"] for one in result["paths"]] == [
        f"{registry.host}/mirror/team/{name}" for name in ("app", "tool")
    ]
    run = prefect.flow_run(result["flow_run_id"])
    assert (run["state"]["type"], run["name"]) == ("COMPLETED", f"push to {registry.host}/mirror")
    assert registry.password not in json.dumps(run)
    rows = json.loads(prefect.artifacts(result["flow_run_id"])["table"]["data"])
    assert [(row["path"], row["tag"], row["action"]) for row in rows] == [
        ("team/app", "v1", "added"),
        ("team/app", "v2", "added"),
        ("team/tool", "v1", "added"),
    ]
    again = entrepot.json("push", f"{registry.host}/mirror", "--path", "team/*")
    assert (again["tags"], again["pushed"]) == ({"unchanged": 3}, {"items": 0, "bytes": 0, "mounted": 0})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target": "user:secret@registry.example"}, "leave credentials out"),
        ({"target": "registry.example/mirror:v1"}, "target: expected no tag"),
        (
            {"target": "registry.example", "source": "team/app"},
            "target: expected a repository, such as registry.example/team/app",
        ),
        ({"target": "registry.example/app:v1", "source": "team/app"}, "names one tag or digest"),
        ({"target": "registry.example/app", "source": "team/app", "paths": ["*"]}, "source excludes paths"),
        ({"target": "registry.example/app", "source": "team/app:v1", "include": ["v*"]}, "expected no filters"),
        ({"target": "registry.example/app", "source": "Team/App"}, "invalid repository name"),
    ],
)
def test_forms_that_contradict_themselves_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        PushRequest.model_validate(fields)
    assert "secret" not in str(caught.value)


def test_where_paths_go() -> None:
    below = PushRequest(target="https://registry.example/mirror/")
    assert str(below.remote("team/app")) == "https://registry.example/mirror/team/app"
    assert str(PushRequest(target="registry.example:5000").remote("app")) == "registry.example:5000/app"
    exact = PushRequest(target="registry.example/other:stable", source="team/app:v1")
    assert (str(exact.remote("team/app")), exact.host) == ("registry.example/other:stable", "registry.example")
