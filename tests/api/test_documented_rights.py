"""The rights that docs/http.md names are those that the registry asks for."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from catalog.access.administration import Administration
from catalog.access.policy import parse_grant
from catalog.access.store import AccessStore
from registry_api.management.required_rights import ADMINISTRATOR, NONE, RIGHT
from scripts.http_reference import openapi_document, operations
from tests.api.conftest import Api, serve, simple_manifest

PASSWORD = "correct horse"
GRANTS = {
    "stranger": "pull:elsewhere/**",
    "puller": "pull:team/**",
    "developer": "pull,push,delete:team/**",
    "owner": "pull,push,delete,admin:team/**",
}
# Who comes closest to a right without having it, and who has it.
WITHOUT = {
    NONE: "stranger",
    "pull": "stranger",
    "push and delete": "puller",
    "admin": "developer",
    ADMINISTRATOR: "owner",
}
WITH = {NONE: "puller", "pull": "puller", "push and delete": "developer"}
VALUES = {"{name}": "team/app", "{path}": "team/app", "{number}": "1", "{token_id}": "x", "{key}": "x"}
QUERIES = {
    "/api/v1/diff": "old=team/app@1&new=team/app@2",
    "/api/v1/versions/{name}": "version=1",
    "/api/v1/verify": "reference=team/app:v1",
    "/api/v1/sboms": "reference=team/app:v1",
    "/api/v1/sboms/packages": "reference=team/app:v1",
    "/api/v1/sboms/search": "package=openssl",
    "/api/v1/holds": "pattern=a",
    "/api/v1/holds/decisions": f"digest=sha256:{64 * '0'}",
    "/api/v1/gates": "pattern=a&policy=release",
    "/api/v1/lifecycles": "name=a",
    "/api/v1/quotas": "pattern=a",
}
BODIES: dict[str, Any] = {
    "PUT /api/v1/distributions/{path}": {"repository": "team/app"},
    "POST /api/v1/restore/{name}": {"version": 1, "dry_run": True},
    "POST /api/v1/users": {"name": "new"},
    "PUT /api/v1/holds": {"pattern": "a/**", "duration": "7d"},
    "POST /api/v1/holds/decisions": {"digest": f"sha256:{64 * '0'}", "action": "block", "reason": "x"},
    "PUT /api/v1/gates": {"pattern": "a/**", "policy": "release"},
    "PUT /api/v1/lifecycles": {"name": "a/**", "deprecated": True},
    "PUT /api/v1/quotas": {"pattern": "a/**", "max_tags": 1},
    "PUT /api/v1/retention/{name}": {"name": "new", "pattern": "a/**", "newest": 1},
    "POST /api/v1/query": {"sql": "SELECT 1"},
    "POST /api/v1/hooks": {"name": "new", "upstream": "docker.io"},
    "POST /api/v1/subscriptions": {"url": "https://receiver.example/"},
}
# Whoever asks gets a list of what they may know.
LISTS = {"GET /api/v1/repositories", "GET /api/v1/distributions", "GET /api/v1/sboms/search"}
OPERATIONS = [
    (method, path, re.split(r"[;,]| on ", operation[RIGHT])[0])
    for method, path, operation in operations(openapi_document())
    if path.startswith("/api/v1/")
]


@pytest.fixture(scope="module")
def visitors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    with serve(tmp_path_factory.mktemp("rights") / "entrepot") as api:
        for tag in ("v1", "v2"):
            api.put_manifest("team/app", tag, simple_manifest(api, "team/app"))
        private(api)
        desk = Administration(
            AccessStore(api.catalog.settings, api.catalog.state),
            api.catalog.events,
            actor="test",
            now=lambda: datetime.now(UTC),
        )
        for name, grant in GRANTS.items():
            desk.add_account(name, password=PASSWORD)
            desk.add_rule([f"user:{name}"], parse_grant(grant))
        clients = {name: api.client((name, PASSWORD)) for name in GRANTS} | {"anybody": api.anybody}
        yield clients
        for name in GRANTS:
            clients[name].close()


def private(api: Api) -> None:
    answer = api.admin.put("/api/v1/distributions/team/app", json={"repository": "team/app", "private": True})
    assert answer.status_code == 200, answer.text


def request(client: httpx.Client, method: str, path: str) -> httpx.Response:
    address = (
        path.replace("{name}", "new") if path.split("/")[3] in {"users", "retention", "hooks", "policies"} else path
    )
    for name, value in VALUES.items():
        address = address.replace(name, value)
    query = QUERIES.get(path, "") if method in {"GET", "DELETE"} else ""
    body = BODIES.get(f"{method} {path}", {}) if method in {"PUT", "POST"} else None
    return client.request(method, f"{address}?{query}", json=body)


@pytest.mark.parametrize(("method", "path", "right"), OPERATIONS)
def test_an_operation_asks_for_the_right_that_is_documented(
    visitors: dict[str, httpx.Client], method: str, path: str, right: str
) -> None:
    for name in ("anybody", WITHOUT[right]):
        answer = request(visitors[name], method, path)
        if f"{method} {path}" in LISTS:
            assert (answer.status_code, "team/app" in answer.text) == (200, False)
        else:
            assert answer.status_code in {401, 403}, f"{name}: {answer.text}"
    if right in WITH:
        assert request(visitors[WITH[right]], method, path).status_code == 200


def test_every_right_occurs() -> None:
    assert {right for _, _, right in OPERATIONS} == WITHOUT.keys()
