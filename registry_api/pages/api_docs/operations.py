"""Reads the operations of an OpenAPI document: what each takes and returns, the right it needs, and an example call. Pure."""

import json
import shlex
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel

from registry_api.management.required_rights import NONE, RIGHT
from registry_api.pages.api_docs.schemas import default_of, describe_type, example_of, schema_name_of

_VALUES: Mapping[str, str] = {
    "name": "team/app",
    "path": "team/app",
    "key": "registry.example.com",
    "number": "3",
    "token_id": "TOKEN-ID",
    "old": "team/app@1",
    "new": "team/app@2",
    "version": "3",
    "pattern": "team/**",
}
"""What stands for a parameter in an example."""


class ApiParameterOut(BaseModel):
    """A parameter: `place` is path, query or header."""

    name: str
    place: str
    type: str
    is_required: bool
    default: str
    description: str


class ResponseOut(BaseModel):
    """A response; `schema_name` is the schema of its body, empty for none."""

    status: str
    description: str
    type: str
    schema_name: str


class OperationOut(BaseModel):
    """One operation, `anchor` being its place on the page. `failures` are the statuses of its errors."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    right: str
    parameters: list[ApiParameterOut]
    body: str
    body_schema: str
    responses: list[ResponseOut]
    failures: list[str]
    curl: str


class GroupOut(BaseModel):
    """The operations of a tag."""

    name: str
    operations: list[OperationOut]


def read_groups(document: Mapping[str, Any], base: str, errors: Collection[str]) -> list[GroupOut]:
    """Return the operations by tag, in the document's order; `base` is the address that examples call.

    Of the statuses that the document names for failures those among `errors` are given, which are the ones that there are.
    """
    schemas = document.get("components", {}).get("schemas", {})
    groups: dict[str, list[OperationOut]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = next(iter(operation.get("tags", ())), "other")
            groups.setdefault(tag, []).append(_read_operation(method, path, operation, schemas, base, errors))
    return [GroupOut(name=name, operations=found) for name, found in groups.items()]


def _read_operation(
    method: str,
    path: str,
    operation: Mapping[str, Any],
    schemas: Mapping[str, Any],
    base: str,
    errors: Collection[str],
) -> OperationOut:
    summary, _, description = str(operation.get("description") or operation.get("summary") or "").partition("\n\n")
    content = operation.get("requestBody", {}).get("content", {})
    body = _first_schema(content)
    responses = [_read_response(status, one) for status, one in operation.get("responses", {}).items()]
    return OperationOut(
        anchor=f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}",
        method=method.upper(),
        path=path,
        summary=" ".join(summary.split()),
        description=" ".join(description.split()),
        right=str(operation.get(RIGHT, "")),
        parameters=[_read_parameter(one) for one in operation.get("parameters", ())],
        body=describe_type(body) if body else "",
        body_schema=schema_name_of(body),
        responses=[one for one in responses if one.status < "400"],
        failures=[one.status for one in responses if one.status in errors],
        curl=make_curl(method, path, operation, schemas, base),
    )


def _first_schema(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of the first media type; empty for none."""
    found: Mapping[str, Any] = next((one.get("schema", {}) for one in content.values()), {})
    return found


def _read_parameter(parameter: Mapping[str, Any]) -> ApiParameterOut:
    schema = parameter.get("schema", {})
    return ApiParameterOut(
        name=parameter["name"],
        place=parameter["in"],
        type=describe_type(schema),
        is_required=bool(parameter.get("required")),
        default=default_of(schema),
        description=str(parameter.get("description") or schema.get("description") or ""),
    )


def _read_response(status: str, response: Mapping[str, Any]) -> ResponseOut:
    schema = _first_schema(response.get("content", {}))
    description = str(response.get("description", ""))
    return ResponseOut(
        status=status,
        description="" if description == "Successful Response" else description,
        type=describe_type(schema) if schema else "",
        schema_name=schema_name_of(schema),
    )


def make_curl(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any], base: str) -> str:
    """Return a command that calls an operation: with the parameters that it needs, and a body that it takes."""
    query = {}
    for parameter in operation.get("parameters", ()):
        name = parameter["name"]
        value = _VALUES.get(name) or str(example_of(parameter.get("schema", {}), schemas) or "…")
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", value)
        elif parameter["in"] == "query" and parameter.get("required"):
            query[name] = value
    words = ["curl"]
    if str(operation.get(RIGHT, "")) != NONE:
        words += ["-u", "USER"]
    if method != "get":
        words += ["-X", method.upper()]
    words.append(f"{base}{path}{f'?{urlencode(query)}' if query else ''}")
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        kind, schema = next(iter(content.items()))
        body = json.dumps(example_of(schema.get("schema", {}), schemas), ensure_ascii=False)
        words += ["-H", f"Content-Type: {kind}", "-d", body]
    return shlex.join(words)
