"""Reads schemas of an OpenAPI document: their types in words, their fields, and an example of each. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

_DEEP = 4
_REFERENCE = "#/components/schemas/"


class SchemaFieldOut(BaseModel):
    """A field of a schema; `schema_name` is the schema that its type names, empty for none."""

    name: str
    type: str
    schema_name: str
    is_required: bool
    default: str
    description: str


class SchemaOut(BaseModel):
    """A schema of the API, with its fields."""

    name: str
    description: str
    fields: list[SchemaFieldOut]


def schema_name_of(schema: Mapping[str, Any]) -> str:
    """Return the name of the schema that a schema refers to, also within a list or beside null; empty for none."""
    for one in _parts(schema):
        reference = str(one.get("$ref", ""))
        if reference.startswith(_REFERENCE):
            return reference.removeprefix(_REFERENCE)
    return ""


def _parts(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for one in (
        schema.get("items"),
        schema.get("additionalProperties"),
        *schema.get("anyOf", ()),
        *schema.get("allOf", ()),
    ):
        if isinstance(one, dict):
            yield from _parts(one)


def describe_type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words: `text`, `list of TagOut`, `number from 1 to 1000`, `one of a, b`, `text or null`."""
    if "$ref" in schema:
        return schema_name_of(schema)
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if choices:
        return " or ".join(dict.fromkeys(map(describe_type, choices)))
    if "allOf" in schema:
        return describe_type(schema["allOf"][0])
    if "const" in schema:
        return f"“{schema['const']}”"
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    return _describe_plain(schema)


def _describe_plain(schema: Mapping[str, Any]) -> str:
    match schema.get("type"):
        case "array":
            items = schema.get("items") or schema.get("prefixItems", [{}])[0]
            return f"list of {describe_type(items)}"
        case "object":
            more = schema.get("additionalProperties")
            return f"object of {describe_type(more)}" if isinstance(more, dict) and more else "object"
        case "integer" | "number" as kind:
            low = schema.get("minimum", schema.get("exclusiveMinimum"))
            bounds = [f"from {low}"] if low is not None else []
            high = schema.get("maximum")
            bounds += [f"to {high}"] if high is not None and high < 2**31 else []
            return " ".join(["whole number" if kind == "integer" else "number", *bounds])
        case "string":
            form = {"date-time": "time", "uri": "URL", "password": "secret"}.get(schema.get("format", ""), "text")
            longest = schema.get("maxLength")
            return f"{form}, at most {longest} characters" if longest else form
        case "boolean":
            return "true or false"
        case "null":
            return "null"
    return "any value"


def read_schema(name: str, schema: Mapping[str, Any]) -> SchemaOut:
    """Return a schema with its fields."""
    required = set(schema.get("required", ()))
    return SchemaOut(
        name=name,
        description=str(schema.get("description", "")),
        fields=[
            SchemaFieldOut(
                name=field,
                type=describe_type(one),
                schema_name=schema_name_of(one),
                is_required=field in required,
                default=default_of(one),
                description=str(one.get("description") or ""),
            )
            for field, one in schema.get("properties", {}).items()
        ],
    )


def default_of(schema: Mapping[str, Any]) -> str:
    """Return a default in words; empty for none, and for an empty one."""
    value = schema.get("default")
    if value in (None, "", [], {}):
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any], deep: int = _DEEP) -> Any:
    """Return a value that a schema allows, with the fields that it needs; None where it is nested too deep."""
    for key in ("example", "default", "const"):
        if schema.get(key) not in (None, "", [], {}):
            return schema[key]
    if schema.get("examples"):
        return schema["examples"][0]
    if deep == 0:
        return None
    if "$ref" in schema:
        return example_of(schemas.get(schema_name_of(schema), {}), schemas, deep - 1)
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            return example_of(schema[choices][0], schemas, deep - 1)
    if "enum" in schema:
        return schema["enum"][0]
    return _plain_example(schema, schemas, deep)


def _plain_example(schema: Mapping[str, Any], schemas: Mapping[str, Any], deep: int) -> Any:
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            fields = {name: one for name, one in schema.get("properties", {}).items() if name in required}
            return {name: example_of(one, schemas, deep - 1) for name, one in fields.items()}
        case "array":
            return [example_of(schema.get("items", {}), schemas, deep - 1)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case "string" if schema.get("format") == "date-time":
            return "2026-01-31T12:00:00Z"
    return "…"
