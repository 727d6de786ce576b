"""Writes the reference of the HTTP API from its OpenAPI document: operations by tag, then the objects that they name."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from registry_api.app import ROUTERS
from registry_api.management.description import describe_api
from registry_api.management.required_rights import RIGHT

_LARGEST = 2**53
"""Beyond this a bound says only that JSON numbers end."""

TITLES = {
    "content": "Repositories, tags and paths",
    "versions": "Versions",
    "sboms": "SBOMs and packages",
    "administration": "Accounts, rules, quotas, retention",
    "questions": "Queries",
    "remotes": "Remotes",
    "events": "Hooks and subscriptions",
    "health": "Health",
    "metrics": "Metrics",
    "token": "Tokens of the registry protocol",
    "index": "Image index",
}
"""The tags in the order of the page."""

Document = Mapping[str, Any]


def openapi_document() -> Document:
    """Return what `/openapi.json` serves."""
    app = FastAPI(title="Entrepôt", version="1")
    for router in ROUTERS:
        app.include_router(router)
    return describe_api(app)


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """Yield the method, path and description of each operation, in the order of the code."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def http_reference() -> str:
    """Return a section for each tag with its operations, and one for each object."""
    document = openapi_document()
    unknown = {operation["tags"][0] for _, _, operation in operations(document)} - TITLES.keys()
    assert not unknown, f"scripts/http_reference.py has no title for the tags {unknown}"
    parts = [
        f"Operations below `/api/v1/` can also answer {', '.join(_common_errors(document))}: [ErrorsOut](#errorsout)."
    ]
    for tag, title in TITLES.items():
        parts.append(f"## {title}")
        parts += [_operation(*one) for one in operations(document) if one[2]["tags"][0] == tag]
    parts.append("## Objects")
    schemas = document["components"]["schemas"]
    parts += [_object(name, schema) for name, schema in sorted(schemas.items())]
    return "\n\n".join(parts)


def _operation(method: str, path: str, operation: Document) -> str:
    parts = [f"### `{method} {path}`", _text(operation.get("description", ""))]
    parts.append(f"Right: {operation[RIGHT]}. Answer: {_answer(operation)}{_own_errors(path, operation)}.")
    rows = [
        (
            f"`{one['name']}`",
            one["in"],
            _type(one["schema"]),
            _default(one, one["schema"]),
            _text(one.get("description", "")),
        )
        for one in operation.get("parameters", ())
    ]
    if rows:
        parts.append(_table(("parameter", "in", "type", "default", "meaning"), rows))
    body = operation.get("requestBody")
    if body:
        parts.append(f"Body: {_type(next(iter(body['content'].values()))['schema'])}.")
    return "\n\n".join(part for part in parts if part)


def _own_errors(path: str, operation: Document) -> str:
    return "" if path.startswith("/api/v1/") else "".join(f", {code}" for code in _errors(operation))


def _errors(operation: Document) -> list[str]:
    return [code for code in operation["responses"] if not code.startswith("2")]


def _common_errors(document: Document) -> list[str]:
    """Return the statuses that each operation of the management API documents."""
    named = [set(_errors(one)) for _, path, one in operations(document) if path.startswith("/api/v1/")]
    return sorted(set.intersection(*named))


def _answer(operation: Document) -> str:
    status, answer = next((code, one) for code, one in operation["responses"].items() if code.startswith("2"))
    content = answer.get("content", {})
    kinds = {_type(one.get("schema", {})) for kind, one in content.items() if kind == "application/json"}
    others = [f"`{kind}`" for kind in content if kind != "application/json"]
    return " ".join([status, ", or ".join([*(kind for kind in kinds if kind != "any"), *others])]).strip()


def _object(name: str, schema: Document) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"`{key}`",
            _type(field),
            "required" if key in required and "default" not in field else _default({}, field),
            _text(field.get("description", "")),
        )
        for key, field in schema.get("properties", {}).items()
    ]
    heads = ("field", "type", "default", "meaning")
    parts = [f"### `{name}`", _text(schema.get("description", "")), _table(heads, rows) if rows else _type(schema)]
    return "\n\n".join(part for part in parts if part)


def _type(schema: Document) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{_json_text(one)}`" for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    if kind == "string" and "format" in schema:
        return str(schema["format"])
    return f"{kind}{_bounds(schema)}"


def _json_text(value: object) -> str:
    """Return a value as it stands in JSON."""
    return json.dumps(value) if value in (None, True, False, "") else str(value)


def _bounds(schema: Document) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and high < _LARGEST:
        return f", {low or 0:g} to {high:g}" if high < 1e6 else f", at least {low or 0:g}"
    return f", at least {low:g}" if low else ""


def _default(parameter: Document, schema: Document) -> str:
    if parameter.get("required"):
        return "required"
    value = schema.get("default")
    if value is None or value == _LARGEST or value in ("", [], {}):
        return "none"
    return f"`{_json_text(value) if not isinstance(value, list | dict) else value}`"


def _text(text: str) -> str:
    return " ".join(text.split())


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
