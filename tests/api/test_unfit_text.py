"""Text that PostgreSQL cannot hold: NUL and halves of surrogate pairs are the client's fault, wherever they are sent."""

import itertools
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Api, codes, serve_on

UNFIT = ("a\0b", "a\ud800b", "a\udfffb")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve_on(request.param, request, tmp_path_factory.mktemp("registry") / "entrepot") as running:
        yield running


def filled(schema: dict[str, Any], schemas: dict[str, Any], text: str) -> object:
    """Return a value of a schema with the text wherever one may be."""
    if "$ref" in schema:
        return filled(schemas[schema["$ref"].rpartition("/")[2]], schemas, text)
    for kind in ("anyOf", "oneOf", "allOf"):
        if kind in schema:
            choices = [one for one in schema[kind] if one.get("type") != "null"]
            return filled(next((one for one in choices if one.get("type") == "string"), choices[0]), schemas, text)
    match schema.get("type"):
        case "object":
            fields = {name: filled(one, schemas, text) for name, one in schema.get("properties", {}).items()}
            more = schema.get("additionalProperties")
            return {**fields, text: filled(more, schemas, text)} if isinstance(more, dict) else fields
        case "array":
            return [filled(schema.get("items", {}), schemas, text)]
        case "integer" | "number":
            return 1
        case "boolean":
            return False
    return schema.get("enum", [text])[0]


def test_every_route_refuses_it_or_bears_it(api: Api) -> None:
    described = api.admin.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    failed: list[str] = []
    sent = 0
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            for text in UNFIT:
                raw = quote(text.encode("utf-8", "surrogatepass"))
                url = path
                query = []
                for parameter in operation.get("parameters", ()):
                    if parameter["in"] == "path":
                        url = url.replace(f"{{{parameter['name']}}}", raw).replace(f"{{{parameter['name']}:path}}", raw)
                    elif parameter["in"] == "query" and "string" in json.dumps(parameter["schema"]):
                        query.append(f"{parameter['name']}={raw}")
                content = None
                if "requestBody" in operation:
                    kinds = operation["requestBody"]["content"]
                    schema = next(iter(kinds.values())).get("schema", {})
                    content = json.dumps(filled(schema, schemas, text))
                answer = api.admin.request(
                    method, f"{url}?{'&'.join(query)}", content=content, headers={"content-type": "application/json"}
                )
                sent += 1
                if answer.status_code >= 500:
                    failed.append(f"{method} {url} {text!r}: {answer.status_code} {answer.text[:200]}")
    assert failed == []
    assert sent > 100


@pytest.mark.parametrize("text", UNFIT)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "quotas", {"pattern": "TEXT", "max_tags": 1}),
        ("POST", "users", {"name": "TEXT", "password": "long enough"}),
        ("POST", "query", {"sql": "SELECT $a", "parameters": {"a": "TEXT"}}),
        ("POST", "query", {"sql": "SELECT 1", "parameters": {"TEXT": 1}}),
    ],
)
def test_it_is_a_fault_of_the_request(api: Api, text: str, method: str, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).replace('"TEXT"', json.dumps(text))
    for sent in (content, content.encode("utf-16")):
        answer = api.admin.request(
            method, f"/api/v1/{path}", content=sent, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        codes(answer)


@pytest.mark.parametrize("path", ["v2/team/app/blobs/uploads/a%00b", "v2/team/app/tags/list?last=a%00b",
                                  "v2/team/app/manifests/a%00b", "v2/a%00b/manifests/v1", "v2/_catalog?last=%00",
                                  "v2/team/app/referrers/sha256:%00", "token?service=a%00b&scope=repository:a%00b:pull",
                                  "v2/team/app/manifests/v1?ns=a%00b"])  # fmt: skip
def test_the_registry_protocol_bears_it(api: Api, path: str) -> None:
    with api.client(auth=("a\0b", "c\0d")) as stranger:
        for client, method in itertools.product((api.admin, stranger), ("GET", "HEAD", "DELETE", "PATCH")):
            assert client.request(method, f"/{path}").status_code < 500


def test_a_text_that_may_be_a_secret_is_not_repeated(own_api: Api) -> None:
    answer = own_api.admin.post("/api/v1/users", json={"name": "bob", "password": "hidden\0word"})
    assert answer.status_code == 400
    assert "hidden" not in answer.text
