"""A flow's form as Prefect's page shows it: one JSON Schema without references, whose fields say their order. Pure.

1. A field that may be left out has no null: the page would show it as a choice of types, one of which cannot be filled in.
2. A default that says nothing is left out, so that the page does not fill it in.
3. Fields stand by importance: the required, then those that the form names, then the rest; `position` says so.
4. A description is plain text, without what a command line alone knows, and with an example.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from flows.forms import shapes
from flows.forms.order import FieldOrder, block_fields, first_fields, shown_fields

Schema = dict[str, Any]
_NOTHING: tuple[object, ...] = (None, "", [], {}, ())
_KEPT = (
    "type", "enum", "const", "format", "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "examples",
)  # fmt: skip
"""What is said of a value itself, and taken over as it is."""


def form_schema(form: type[BaseModel]) -> Schema:
    """Return the parameters of a flow that takes the fields of a form."""
    schema = form.model_json_schema()
    shown = _Reader(schema.get("$defs", {})).read_object(schema, first_fields(form))
    for name, fields in shown_fields(form).items():
        _shorten(shown["properties"][name], fields)
    used = {name: BLOCK_TITLES[kind] for name, kind in block_fields(form).items()}
    for name, title in used.items():
        shown["properties"][name] = _or_block(shown["properties"][name], title)
    return {
        "title": "Parameters",
        "type": "object",
        "properties": shown["properties"],
        "required": shown.get("required", []),
        "definitions": {title: _block_definition(title) for title in used.values()},
        "additionalProperties": False,
    }


BLOCK_TITLES = {"entrepot-signing-key": "SigningKeyBlock", "entrepot-upstream-login": "UpstreamLoginBlock"}
"""Type of block → the title of its schema."""


def _or_block(shown: Schema, title: str) -> Schema:
    """Return a field that takes its text, or a block."""
    outer = {name: shown.pop(name) for name in ("title", "description", "position") if name in shown}
    return outer | {"anyOf": [{"title": "File"} | shown, {"$ref": f"#/definitions/{title}"}]}


def _block_definition(title: str) -> Schema:
    kind = next(kind for kind, name in BLOCK_TITLES.items() if name == title)
    return {
        "title": title,
        "type": "object",
        "block_type_slug": kind,
        "properties": {"file": {"type": "string"}},
        "required": ["file"],
    }


def _shorten(shown: Schema, fields: Sequence[str]) -> None:
    """Show these fields of a form within the form; the others may be given all the same, as JSON."""
    shown["properties"] = {name: shown["properties"][name] for name in fields}
    for position, one in enumerate(shown["properties"].values()):
        one["position"] = position
    del shown["additionalProperties"]


class _Reader:
    """Reads schemas of pydantic's, with the definitions that they refer to."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions

    def read_object(self, schema: Schema, order: FieldOrder = FieldOrder()) -> Schema:  # noqa: B008  # it is a value
        required = schema.get("required", [])
        names = order.sort(schema["properties"], required)
        properties = {name: self._read_field(schema["properties"][name]) for name in names}
        for position, one in enumerate(properties.values()):
            one["position"] = position
        found: Schema = {"type": "object", "properties": properties}
        return found | ({"required": required} if required else {}) | _closed(schema)

    def _read_field(self, schema: Schema) -> Schema:
        """Read a field, with its title, its text and its default."""
        found = self.read(schema)
        title, default = schema.get("title"), schema.get("default")
        if title:
            found = {"title": title, **found}
        if default not in _NOTHING:
            found["default"] = _size_text(default) if found.get("pattern") == shapes.SIZE else default
        text = form_text(schema.get("description", ""), found.get("examples") or _examples_of_items(found))
        return found | ({"description": text} if text else {})

    def read(self, schema: Schema) -> Schema:
        """Read what is said of a value, without references and without null."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return self._read_choice(schema)
        if "properties" in schema:
            return self.read_object(schema)
        found = {name: schema[name] for name in _KEPT if name in schema}
        if "items" in schema:
            found["items"] = self.read(schema["items"])
        if isinstance(schema.get("additionalProperties"), dict):
            found["additionalProperties"] = self.read(schema["additionalProperties"])
        return found

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            definition = self._definitions[schema["$ref"].rpartition("/")[2]]
            schema = {**definition, **{name: value for name, value in schema.items() if name != "$ref"}}
        return schema

    def _read_choice(self, schema: Schema) -> Schema:
        options = [self._resolved(one) for one in schema["anyOf"] if one.get("type") != "null"]
        sizes = [one for one in options if one.get("format") == "size"]
        if sizes:  # a number would be one of bytes, which the text says too
            return {"type": "string", "pattern": shapes.SIZE, "examples": sizes[0]["examples"]}
        outer = {name: schema[name] for name in _KEPT if name in schema}
        if len(options) == 1:
            return self.read(options[0]) | outer
        return {"anyOf": [{"title": _title_of(one)} | self.read(one) for one in options]} | outer


def _closed(schema: Schema) -> Schema:
    return {"additionalProperties": False} if schema.get("additionalProperties") is False else {}


def _title_of(schema: Schema) -> str:
    return "With fields" if "properties" in schema else "Text" if schema.get("type") == "string" else "Value"


def _examples_of_items(found: Schema) -> list[Any]:
    items = found.get("items", {})
    return list(items.get("examples", []))


def _size_text(default: object) -> str:
    count = int(str(default))
    return f"{count // 10**6}MB" if count % 10**6 == 0 and count else str(count)


def form_text(description: str, examples: Iterable[object]) -> str:
    """Return the text of a field for a page that shows it as it is, with the first example."""
    text = description.replace("`", "")
    text = re.sub(r" ?Repeatable\.", "", text)
    text = re.sub(r"Repeatable: (\w)", lambda found: found[1].upper(), text)
    example = next(iter(examples), "")
    if isinstance(example, list | tuple):
        example = next(iter(example), "")
    shown = str(example)
    return f"{text} Example: {shown}".strip() if shown and shown not in text else text.strip()
