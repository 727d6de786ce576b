"""The page of the HTTP API: all of the OpenAPI document, and the rights that it names are those that are asked."""

import pytest

from registry_api.management.required_rights import ADMINISTRATOR, RIGHT
from registry_api.pages.api_docs.operations import make_curl
from registry_api.pages.api_docs.schemas import describe_type, example_of
from tests.pages.conftest import Shown
from tests.pages.content import PASSWORD

_PLACES = {"name": "team/server", "path": "private/nightjar", "key": "registry.example", "number": "1", "token_id": "x"}


def operations(shown: Shown) -> list[tuple[str, str, dict[str, object]]]:
    document = shown.visitor().get("/openapi.json").json()
    return [(method, path, one) for path, methods in document["paths"].items() for method, one in methods.items()]


def test_every_operation_is_there_with_its_right_and_an_example(shown: Shown) -> None:
    page = shown.visitor().get("/api/docs").text
    found = operations(shown)
    assert len(found) > 40
    for method, path, one in found:
        assert one[RIGHT], (method, path)
        assert f"<code>{path}</code>" in page
    assert page.count("curl") >= len(found)
    assert page.count('<details class="operation"') > len(found)


def test_every_link_of_the_page_leads_somewhere(shown: Shown) -> None:
    page = shown.visitor().get("/api/docs").text
    names = {part.split('"')[0] for part in page.split('id="')[1:]}
    wanted = {part.split('"')[0] for part in page.split('href="#')[1:]}
    assert wanted - names == set()


def test_what_needs_a_right_is_refused_without_it(shown: Shown) -> None:
    """Asked by nobody, and by a user who may pull team/** alone; a right to pull is asked of a private repository."""
    bob = shown.visitor()
    bob.auth = ("bob", PASSWORD)
    nobody = shown.visitor()
    wrong = []
    for method, path, one in operations(shown):
        right = str(one[RIGHT])
        if right.startswith("none"):
            continue
        places = {**_PLACES, "name": "private/nightjar"} if right.startswith("pull") else _PLACES
        if right == ADMINISTRATOR:
            places = {**places, "name": "someone"}
        url = path
        for name, value in places.items():
            url = url.replace(f"{{{name}}}", value)
        query = {
            "old": "private/nightjar@0",
            "new": "private/nightjar@1",
            "version": "1",
            "pattern": "x",
            "sql": "SELECT 1",
            "digest": f"sha256:{64 * '0'}",
            "reference": "private/nightjar:1",
        }
        body = example_of(_body_of(one), _schemas(shown)) if "requestBody" in one else None
        for client, statuses in ((nobody, {401}), (bob, {403})):
            answer = client.request(method, url, params=query, json=body)
            if answer.status_code not in statuses | ({400, 422} if right == ADMINISTRATOR else set()):
                wrong.append((method, url, right, answer.status_code, answer.text[:200]))
    assert wrong == []


def _body_of(operation: dict[str, object]) -> dict[str, object]:
    body = operation["requestBody"]
    assert isinstance(body, dict)
    schema: dict[str, object] = next(iter(body["content"].values()))["schema"]
    return schema


def _schemas(shown: Shown) -> dict[str, object]:
    found: dict[str, object] = shown.visitor().get("/openapi.json").json()["components"]["schemas"]
    return found


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "text"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/TagOut"}}, "list of TagOut"),
        ({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]}, "whole number from 0 or null"),
        ({"enum": ["a", "b"]}, "one of a, b"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "object of true or false"),
        ({}, "any value"),
    ],
)
def test_types_are_told_in_words(schema: dict[str, object], words: str) -> None:
    assert describe_type(schema) == words


def test_an_example_that_refers_to_itself_ends() -> None:
    schemas = {"A": {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/components/schemas/A"}}}}
    example_of({"$ref": "#/components/schemas/A"}, schemas)


def test_a_call_is_quoted_for_a_shell() -> None:
    operation = {
        RIGHT: ADMINISTRATOR,
        "requestBody": {"content": {"application/json": {"schema": {"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}}}}}},
    }  # fmt: skip
    line = make_curl("put", "/api/v1/x/{name}", {**operation, "parameters": [
        {"name": "name", "in": "path", "schema": {"type": "string"}}]}, {}, "https://host")  # fmt: skip
    assert line == (
        "curl -u USER -X PUT https://host/api/v1/x/team/app -H 'Content-Type: application/json' -d '{\"a\": \"…\"}'"
    )
