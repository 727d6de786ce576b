"""Forms as Prefect's page shows them: every deployment's fields, by the rules that the page needs, and what it refuses."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid_schema, validate
from pydantic import BaseModel, ValidationError

from flows.console.form_flow import FieldsFlow, parameter_schema_of
from flows.console.form_schema import form_text
from flows.forms.written_fields import written_fields
from flows.orchestration.deployments import read_deployments

DEPLOYED = {one["name"]: one["entrypoint"] for one in read_deployments()}
DIGEST = "sha256:" + "0" * 64
BLOCK = "00000000-0000-4000-8000-000000000000"


def flow_of(name: str) -> FieldsFlow:
    flow: Flow[..., Any] = load_flow_from_entrypoint(DEPLOYED[name], use_placeholder_flow=False)
    assert isinstance(flow, FieldsFlow)
    return flow


def schema_of(name: str) -> dict[str, Any]:
    return parameter_schema_of(flow_of(name))


def fields_of(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of a form, with those of the forms within it."""
    for name, field in schema.get("properties", {}).items():
        yield name, field
        for inner in (field, field.get("items", {}), *field.get("anyOf", ())):
            yield from fields_of(inner)
        for inner in field.get("items", {}).get("anyOf", ()):
            yield from fields_of(inner)


def nodes_of(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes_of(inner)


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_form_is_one_that_the_page_can_show(name: str) -> None:
    schema = schema_of(name)
    is_valid_schema(schema)
    assert "request" not in schema["properties"]
    assert schema["additionalProperties"] is False
    for node in nodes_of(schema):
        assert node.get("type") != "null", node
        assert not isinstance(node.get("type"), list), node
        assert not node.get("anyOf") or len(node["anyOf"]) > 1, node
        assert node.get("$ref", "#/definitions/").startswith("#/definitions/"), node
    assert set(schema["definitions"]) <= {"SigningKeyBlock", "UpstreamLoginBlock"}
    for field, shown in fields_of(schema):
        assert shown["title"], field
        assert shown["title"].lower() != "request"
        assert shown["description"], field
        assert "`" not in shown["description"]
        assert "Repeatable" not in shown["description"]
        assert "default" not in shown or shown["default"] not in (None, "", [], {}), field


@pytest.mark.parametrize("name", DEPLOYED)
def test_fields_stand_by_importance(name: str) -> None:
    schema = schema_of(name)
    names = list(schema["properties"])
    assert [one["position"] for one in schema["properties"].values()] == list(range(len(names)))
    assert names[: len(schema["required"])] == schema["required"]
    if "dry_run" in names:
        assert names.index("dry_run") < 12
    for rare in ("batch_size", "recheck", "also", "trust_config", "approval_timeout", "at_once"):
        assert rare not in names or names.index(rare) >= len(names) - 4, rare


@pytest.mark.parametrize("name", DEPLOYED)
def test_what_the_page_fills_in_is_accepted(name: str) -> None:
    schema = schema_of(name)
    filled = {field: shown["default"] for field, shown in schema["properties"].items() if "default" in shown}
    assert validate(filled, schema, ignore_required=True) == []
    assert json.loads(json.dumps(schema)) == schema


def test_choices_are_enumerations() -> None:
    found = {field for name in DEPLOYED for field, shown in fields_of(schema_of(name)) if "enum" in shown}
    assert {"mode", "on_error", "policy", "newest_of", "newest_by", "kind", "privacy", "serve"} <= found
    assert schema_of("sync-repository")["properties"]["policy"]["enum"] == ["immediate", "on_demand", "streamed"]


def test_the_form_of_a_pipeline_is_short() -> None:
    schema = schema_of("run-pipeline")
    assert list(schema["properties"]) == [
        "upstream", "curated", "built", "newest", "context", "key", "document", "bundles",
    ]  # fmt: skip
    upstream = schema["properties"]["upstream"]
    assert list(upstream["properties"]) == ["remote", "repository", "include", "platforms"]
    whole = {"upstream": {"remote": "registry.example/app", "mode": "mirror", "recheck": True}}
    assert validate({**whole, "curated": "a", "built": "b"}, schema) == []  # as JSON it takes all fields of a sync


def test_what_matters_first_stands_first() -> None:
    assert list(schema_of("sync-repository")["properties"])[:5] == [
        "remote",
        "repository",
        "include",
        "exclude",
        "newest",
    ]
    promoted = list(schema_of("promote-content")["properties"])
    assert promoted[:7] == ["source", "repository", "tags", "version", "mode", "dry_run", "approval"]


REMOTE, NAMES = {"remote": "registry.example/team/app"}, {"source": "dev/app", "repository": "prod/app"}


@pytest.mark.parametrize(
    ("name", "fit", "field", "unfit"),
    [
        ("sync-repository", {}, "remote", "https://user:password@registry.example/app"),
        ("sync-repository", {}, "remote", "registry.example/Team/App"),
        ("sync-repository", {}, "remote", "two words"),
        ("sync-repository", REMOTE, "repository", "Team/App"),
        ("sync-repository", REMOTE, "mode", "replace"),
        ("sync-repository", REMOTE, "newest", 0),
        ("sync-repository", REMOTE, "newer_than", "yesterday"),
        ("sync-repository", REMOTE, "platforms", ["linux"]),
        ("sync-repository", REMOTE, "types", ["imag"]),
        ("sync-repository", REMOTE, "also", ["user:password@registry.example/app"]),
        ("sync-repository", REMOTE, "batch_size", 0),
        ("sync-repository", REMOTE, "unknown", "x"),
        ("sync-many", {}, "remotes", ["user:password@registry.example/team/**"]),
        ("sync-many", {"remotes": ["registry.example/team/**"]}, "chunks", 0),
        ("replicate-registry", {}, "upstream", "registry.example/team"),
        ("replicate-registry", {"upstream": "registry.example"}, "include", ["two words"]),
        ("push-repositories", {"target": "registry.example"}, "source", "team/app:"),
        ("push-repositories", {}, "target", "user:password@registry.example"),
        ("promote-content", NAMES, "tags", [".latest"]),
        ("promote-content", NAMES, "require_age", "7 days"),
        ("promote-content", NAMES, "hook", "https://user:password@policy.example"),
        ("promote-content", NAMES, "version", 0),
        ("curate-repository", {"repository": "team/app"}, "tag", ["stable"]),
        ("curate-repository", {"repository": "team/app"}, "expect", "sha256:12"),
        ("restore-version", {"repository": "team/app"}, "version", -1),
        ("scrub-blobs", {}, "rate", "50 apples"),
        ("collect-garbage", {}, "grace", "1 day"),
        ("reclaim-space", {}, "repositories", []),
        ("sign-content", {}, "source", "team/app:latest@sha256:12"),
        ("build-image", {"repository": "team/app", "context": "app"}, "tag", "not a tag"),
        ("run-pipeline", {"curated": "a", "built": "b"}, "upstream", {"remote": "user:password@registry.example/app"}),
    ],
)
def test_a_wrong_value_is_refused_before_a_run_is_made(
    name: str, fit: dict[str, Any], field: str, unfit: object
) -> None:
    schema = schema_of(name)
    assert validate(fit, schema, ignore_required=True) == []
    errors = validate({**fit, field: unfit}, schema, ignore_required=True)
    assert errors
    with pytest.raises(ValidationError):
        flow_of(name).form.model_validate({**fit, field: unfit})


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("sync-repository", {"remote": "docker.io/library/alpine:3.20", "include": ["semver:>=1.4 <2", "re:v.*"]}),
        ("sync-repository", {"remote": "http://127.0.0.1:5080/a/b", "newer_than": "1w2d", "older_than": "2026-01-31T12:00Z"}),
        ("sync-repository", {"remote": f"registry.example/app@{DIGEST}", "policy": "on_demand", "platforms": ["linux/arm64/v8"]}),
        ("sync-repository", {"remote": "nginx", "types": ["!sbom", "application/vnd.wasm*"], "labels": ["!a", "b!=c*"]}),
        ("sync-many", {"remotes": ["registry.example/team/**", "registry.example/re:a.*"], "defaults": {"mode": "mirror"}}),
        ("replicate-registry", {"upstream": "https://registry.example:5000/", "tags": {"newest": 3}}),
        ("push-repositories", {"target": "registry.example/mirror/app:v1", "source": "app:v1"}),
        ("promote-content", {**NAMES, "hook": "https://policy.example/promote", "require_age": "0"}),
        ("curate-repository", {"repository": "a", "sources": ["b:v1", {"repository": "c", "newest": 2}], "tag": ["x=v1"]}),
        ("scrub-blobs", {"rate": "1.5 GB", "older_than": ""}),
        ("sign-content", {"source": "team/app", "key": {"$ref": {"block_document_id": BLOCK}}}),
        ("build-image", {"repository": "a", "context": "app", "arguments": {"BASE": "b"}}),
    ],
)  # fmt: skip
def test_right_values_are_accepted(name: str, fields: dict[str, Any]) -> None:
    assert validate(fields, schema_of(name)) == []


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("sync-repository", {"remote": "registry.example/app", "newest": 3, "policy": "streamed"}),
        ("scrub-blobs", {"rate": "20MB"}),
        ("replicate-registry", {"upstream": "registry.example", "tags": {"include": ["v*"]}}),
        ("sync-many", {"syncs": [{"remote": "registry.example/app"}], "defaults": {"on_error": "skip"}}),
    ],
)
def test_what_a_form_writes_fits_its_schema(name: str, fields: dict[str, Any]) -> None:
    form: type[BaseModel] = flow_of(name).form
    written = written_fields(form.model_validate(fields))
    assert validate(written, schema_of(name)) == []
    assert form.model_validate(written) == form.model_validate(fields)


@pytest.mark.parametrize("name", DEPLOYED)
def test_prefects_own_command_registers_the_same_fields(name: str) -> None:
    shown, theirs = schema_of(name), parameter_schema(flow_of(name)).model_dump()
    assert list(theirs["properties"]) == list(shown["properties"])
    assert sorted(theirs["required"]) == sorted(shown["required"])
    for field, one in theirs["properties"].items():
        for key in ("title", "description", "position"):
            assert one[key] == shown["properties"][field][key]


def test_texts_of_a_form_are_plain() -> None:
    assert form_text("Select `KEY`. Repeatable.", ()) == "Select KEY."
    assert form_text("Gate: `KEY`. Repeatable: all must hold.", ["a=b"]) == "Gate: KEY. All must hold. Example: a=b"
    assert form_text("Such as `team/app`.", ["team/app"]) == "Such as team/app."
    assert form_text("Lists.", [["first", "second"]]) == "Lists. Example: first"


@pytest.mark.parametrize("name", ["sign-content", "attest-content", "build-image"])
def test_a_secret_in_the_uri_of_a_signer_is_refused_before_prefect_stores_it(name: str) -> None:
    pattern = schema_of(name)["properties"]["key"]["anyOf"][0]["pattern"]
    for text in (
        "release.key",
        "/keys/my key.pem",
        "pkcs11:object=b?pin-source=file:/run/pin",
        "awskms:///arn:aws:kms:x:1:key/2",
    ):
        assert re.search(pattern, text)
    for text in ("pkcs11:object=b?pin-value=4711", "hashivault://hush@release", "awskms://me:hush@host/k", ""):
        assert not re.search(pattern, text)
