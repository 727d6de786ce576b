"""The management API: what it says of itself holds for any request, and its rights are those of the registry."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from tests.api.conftest import Api, codes, serve, simple_manifest

PASSWORD = "correct horse"
schemathesis.openapi.format("size", strategies.integers(1, 999).map("{}GB".format))
schemathesis.openapi.format("duration-with-units", strategies.integers(1, 59).map("{}m".format))
JUDGED_FURTHER = {
    ("POST", "/api/v1/hooks"),
    ("POST", "/api/v1/subscriptions"),
    *((method, "/api/v1/holds") for method in ("PUT", "DELETE")),
    *((method, "/api/v1/holds/decisions") for method in ("POST", "DELETE")),
    ("GET", "/api/v1/gates/report"),
    *((method, "/api/v1/gates") for method in ("PUT", "DELETE")),
    *((method, "/api/v1/lifecycles") for method in ("PUT", "DELETE")),
    *((method, "/api/v1/policies/{name}") for method in ("GET", "PUT", "DELETE")),
    ("GET", "/api/v1/verify"),
    *(("GET", f"/api/v1/sboms{end}") for end in ("", "/packages", "/search")),
    ("PUT", "/api/v1/quotas"),
    ("PUT", "/api/v1/retention/{name}"),
    *((method, "/api/v1/remotes/{key}") for method in ("GET", "PUT", "DELETE")),
}


@pytest.fixture(scope="module")
def managed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry with two repositories, and bob, who may pull from one of them."""
    with serve(tmp_path_factory.mktemp("managed") / "entrepot") as api:
        for name in ("team/app", "other/app"):
            for tag in ("v1", "v2", "v3"):
                api.put_manifest(name, tag, simple_manifest(api, name))
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        desk.add_account("bob", password=PASSWORD)
        desk.add_rule(["user:bob"], parse_grant("pull:team/**"))
        yield api


def cases(api: Api, check: Callable[[Any], None], examples: int) -> int:
    """Make up requests to every operation that /openapi.json describes, and check each; return how many operations.

    Not to /query: what is a question no schema tells, and each takes a process.
    """
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json").include(path_regex="^/api/v1/(?!query)")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def run(case: Any) -> None:
            check(case)

        run()
    return len(operations)


def test_any_request_is_answered_as_the_description_says(managed: Api) -> None:
    def check(case: Any) -> None:
        # What these take goes beyond what a schema can say: patterns that compile, durations, documents, fields that exclude
        # each other.
        left_out = [positive_data_acceptance] if (case.method, case.path) in JUDGED_FURTHER else []
        case.call_and_validate(auth=("admin", managed.password), excluded_checks=left_out)

    assert cases(managed, check, 15) >= 23


def test_nobody_administers(managed: Api) -> None:
    def check(case: Any) -> None:
        answer = case.call()
        assert answer.status_code in {200, 400, 401, 405}
        if answer.status_code == 200:
            assert case.path in {"/api/v1/repositories", "/api/v1/distributions", "/api/v1/sboms/search"}
            assert case.method == "GET"

    cases(managed, check, 5)


def test_repositories_versions_and_tags(managed: Api) -> None:
    admin = managed.admin
    listed = admin.get("/api/v1/repositories").json()
    assert [one["name"] for one in listed] == ["other/app", "team/app"]
    assert admin.get("/api/v1/repositories", params={"n": 1, "last": "other/app"}).json() == listed[1:]
    shown = admin.get("/api/v1/repositories/team/app").json()
    assert (shown["version"], shown["tags"]) == (3, 3)
    versions = admin.get("/api/v1/versions/team/app", params={"n": 2}).json()
    assert [(one["number"], one["operation"], one["actor"]) for one in versions] == [
        (3, "push", "admin"),
        (2, "push", "admin"),
    ]
    assert [one["number"] for one in admin.get("/api/v1/versions/team/app", params={"before": 2}).json()] == [1]
    tags = admin.get("/api/v1/tags/team/app").json()
    assert [one["tag"] for one in tags] == ["v1", "v2", "v3"]
    assert tags[0]["digest"].startswith("sha256:")
    assert [one["tag"] for one in admin.get("/api/v1/tags/team/app", params={"version": 1}).json()] == ["v1"]
    answer = admin.get("/api/v1/tags/team/app", params={"version": 99})
    assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])


def test_everybody_sees_what_rules_let_them_pull(managed: Api) -> None:
    with managed.client(auth=("bob", PASSWORD)) as bob:
        assert [one["name"] for one in bob.get("/api/v1/repositories").json()] == ["team/app"]
        assert bob.get("/api/v1/tags/team/app").status_code == 200
        for path in ("tags/other/app", "versions/other/app", "repositories/other/app", "users", "events", "rules"):
            answer = bob.get(f"/api/v1/{path}")
            assert (answer.status_code, codes(answer)) == (403, ["DENIED"])
    nobody = managed.anybody.get("/api/v1/versions/team/app")
    assert nobody.status_code == 401
    assert nobody.headers["www-authenticate"].startswith("Basic ")
    assert managed.anybody.get("/api/v1/repositories").json() == []


@pytest.mark.parametrize("odd", ["\ud83d", "a\0b"])
@pytest.mark.parametrize("place", ["label", "label's key", "immutable tag", "description"])
def test_text_that_the_catalogue_cannot_hold_is_refused(managed: Api, place: str, odd: str) -> None:
    places: dict[str, dict[str, object]] = {
        "label": {"labels": {"a": odd}}, "label's key": {"labels": {odd: "a"}}, "immutable tag": {"immutable_tags": [odd]},
        "description": {"description": odd},
    }  # fmt: skip
    body = json.dumps({"repository": "team/app", **places[place]})
    answer = managed.admin.put(
        "/api/v1/distributions/odd/app", content=body, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, len(codes(answer))) == (400, 1)
    shown = managed.admin.get("/api/v1/distributions")
    assert shown.status_code == 200
    assert "odd/app" not in shown.text


def test_distributions_are_made_changed_and_deleted(managed: Api) -> None:
    wanted = {"repository": "team/app", "version": 1, "private": True, "labels": {"a": "b"}, "immutable_tags": ["v*"]}
    made = managed.admin.put("/api/v1/distributions/pinned/app", json=wanted)
    assert made.status_code == 200, made.text
    assert made.json() == {
        **wanted, "path": "pinned/app", "description": "", "remote": "", "fresh_seconds": 0, "cache": None,
        "history_from": 1,
    }  # fmt: skip
    assert managed.admin.get("/v2/pinned/app/tags/list").json()["tags"] == ["v1"]
    assert managed.anybody.get("/v2/pinned/app/tags/list").status_code == 401
    with managed.client(auth=("bob", PASSWORD)) as bob:
        assert bob.put("/api/v1/distributions/team/second", json={"repository": "team/app"}).status_code == 403
        assert bob.delete("/api/v1/distributions/pinned/app").status_code == 403
    assert managed.admin.put("/api/v1/distributions/x", json={**wanted, "version": 99}).status_code == 404
    assert managed.admin.delete("/api/v1/distributions/pinned/app").status_code == 204
    assert managed.admin.get("/v2/pinned/app/tags/list").status_code == 404
    actions = {one["action"] for one in managed.admin.get("/api/v1/events", params={"name": "pinned/app"}).json()}
    assert actions - {"admin"} == {"set-distribution", "delete-distribution"}  # a refusal is written a moment later


def test_users_and_their_tokens(managed: Api) -> None:
    made = managed.admin.post("/api/v1/users", json={"name": "robot-1"})
    assert made.status_code == 201, made.text
    assert made.json()["robot"] is True
    assert managed.admin.post("/api/v1/users", json={"name": "robot-1"}).status_code == 409
    scope = {"actions": ["pull"], "patterns": ["team/**"]}
    token = managed.admin.post("/api/v1/users/robot-1/tokens", json={"scopes": [scope], "expires_in": 3600}).json()
    with managed.client(auth=("robot-1", token["secret"])) as robot:
        assert robot.get("/v2/").status_code == 200
        listed = managed.admin.get("/api/v1/users/robot-1/tokens").json()
        assert [(one["id"], one["secret"], one["scopes"]) for one in listed] == [(token["id"], None, [scope])]
        assert managed.admin.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
        assert robot.get("/v2/").status_code == 401
    assert managed.admin.delete("/api/v1/users/robot-1").status_code == 204
    assert "robot-1" not in [one["name"] for one in managed.admin.get("/api/v1/users").json()]
    assert managed.admin.post("/api/v1/users", json={"name": "x", "password": "short"}).status_code == 400
    unknown = managed.admin.post("/api/v1/users", json={"name": "x", "unheard": 1})
    assert (unknown.status_code, codes(unknown)) == (400, ["UNKNOWN"])
