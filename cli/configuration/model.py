"""The whole file as one model, and what is wrong with a document that does not fit it: every fault, at its line."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BaseModel, Field, StringConstraints, ValidationError, create_model

from catalog.desired_state.entries import REFERENCE_PATTERN, CatalogEntries
from cli.configuration.document import ConfigDocument, DocumentFault

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@cache
def configuration_model() -> type[CatalogEntries]:
    """Return the model of a file: the catalogue's entries, and deployments, each with the form of its flow."""
    from flows.schedules.entries import DEPLOYMENT_NAME, deployment_models

    entry: Any = Annotated[Union[deployment_models()], Field(discriminator="flow")]  # noqa: UP007  # of a tuple
    name = Annotated[str, StringConstraints(pattern=DEPLOYMENT_NAME)]
    text = "Flows with parameters and schedules; the key is the name of the deployment."
    kind: Any = dict[name, entry]
    return create_model(
        "Configuration",
        __base__=CatalogEntries,
        __doc__="Desired state of an installation, for `entrepot apply`.",
        deployments=(kind, Field(default_factory=dict, description=text)),
    )


def configuration_schema() -> dict[str, Any]:
    """Return the JSON Schema of a file."""
    return {"$schema": SCHEMA_DIALECT, **configuration_model().model_json_schema()}


def deployments_of(entries: CatalogEntries) -> Mapping[str, Any]:
    """Return the deployments of a file by name; none where the model has none."""
    found: Mapping[str, Any] = getattr(entries, "deployments", {})
    return found


def read_entries(document: ConfigDocument) -> tuple[CatalogEntries, list[DocumentFault]]:
    """Return the entries that fit, and every fault of the others: one bad entry hides nothing of the rest."""
    value = document.value
    faults = list(document.faults)
    if not isinstance(value, dict):
        return CatalogEntries.model_validate({}), [
            *faults,
            document.fault((), "expected keys such as `remotes:` and `users:`"),
        ]
    model = CatalogEntries
    if "deployments" in value and value["deployments"] not in (None, {}):
        model = configuration_model()  # the forms of all flows take a second to load
    else:
        value = {name: part for name, part in value.items() if name != "deployments"}
    value = {name: _filled(name, part) for name, part in value.items()}
    for _ in range(_TRIES):
        try:
            return model.model_validate(value), faults
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            faults += [_fault(document, one) for one in found]
            value = _without(value, {tuple(one["loc"][:2]) for one in found})
    raise AssertionError("what does not fit was taken away, and yet it does not fit")


_TRIES = 5


def _filled(section: str, part: Any) -> Any:
    """Read an empty section as none, and an empty entry (`alice:`) as one without fields."""
    if part is None:
        return [] if section == "repositories" else part if section == "version" else {}
    if isinstance(part, dict) and section != "version":
        empty: Any = [] if section in ("groups", "gates") else {}
        return {key: empty if entry is None else entry for key, entry in part.items()}
    return part


def _without(value: Mapping[str, Any], places: set[tuple[int | str, ...]]) -> dict[str, Any]:
    """Return a document without its faulty entries; a section or key that is faulty itself goes whole."""
    left: dict[str, Any] = {}
    for name, part in value.items():
        inner = {place[1] for place in places if len(place) > 1 and place[0] == name}
        if (name,) in places:
            continue
        if isinstance(part, dict):
            left[name] = {key: entry for key, entry in part.items() if key not in inner}
        elif isinstance(part, list):
            left[name] = [entry for number, entry in enumerate(part) if number not in inner]
        elif not inner:
            left[name] = part
    return left


def _fault(document: ConfigDocument, error: "ErrorDetails") -> DocumentFault:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        return document.fault(place, _unknown(str(place[-1])))
    if error["type"] == "missing":
        return document.fault(place[:-1], f"the key `{place[-1]}` is missing; add it")
    return document.fault(place, _text(error))


def _text(error: "ErrorDetails") -> str:
    if error["type"] == "string_pattern_mismatch" and error["ctx"]["pattern"] == REFERENCE_PATTERN:
        return "expected a reference, env:NAME or file:/PATH, and never the secret itself"
    if error["type"] == "union_tag_not_found":
        return "the key `flow` is missing; add it"
    if error["type"] == "union_tag_invalid":
        return f"unknown flow: expected one of {error['ctx']['expected_tags']}"
    return _PLAIN.get(error["type"]) or error["msg"].removeprefix("Value error, ").replace(
        "Input should be", "expected"
    )


_PLAIN = {
    "model_type": "expected fields, such as `{key: value}`",
    "dict_type": "expected entries, such as `name: {key: value}`",
    "tuple_type": "expected a list, such as `[a, b]`",
    "string_type": "expected text; put a number in quotes",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "too_short": "expected at least one item",
}
"""What pydantic says in words of Python."""


def _unknown(key: str) -> str:
    near = get_close_matches(key, sorted(_known_keys()), n=1, cutoff=0.7)
    meant = f"did you mean `{near[0]}`?" if near else "`entrepot apply --schema` lists all keys"
    return f"unknown key; {meant}"


@cache
def _known_keys() -> frozenset[str]:
    return frozenset(_keys_of(configuration_schema()))


def _keys_of(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            yield from properties
        for part in schema.values():
            yield from _keys_of(part)
    elif isinstance(schema, Sequence) and not isinstance(schema, str):
        for part in schema:
            yield from _keys_of(part)


def plain_fields(entry: BaseModel) -> dict[str, Any]:
    """Return the fields of an entry in plain values."""
    return entry.model_dump(mode="json", warnings=False)
