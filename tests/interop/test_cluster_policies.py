"""Policies that are exported for clusters and for notation, judged by what those publish: schemas, and a library."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from catalog.policy.document import TrustPolicy
from catalog.policy.formats.exports import PolicyFormat, export_trust_policy
from tests.go_modules import module_folder
from tests.servers import Client, tool
from tests.unit.catalog.policy.test_formats import policy

SCHEMAS = {
    "kyverno": (
        "github.com/kyverno/kyverno",
        "config/crds/policies.kyverno.io/policies.kyverno.io_imagevalidatingpolicies.yaml",
    ),
    "policy-controller": ("github.com/sigstore/policy-controller", "config/300-clusterimagepolicy.yaml"),
}
MATERIAL = [{"type": "slsa", "signers": ["a"], "builders": ["b1"], "sources": ["https://github.com/a/b"]}]
POLICIES = {
    "keys": policy({"paths": ["team/**"], "signatures": [{"signers": ["a", "b"], "threshold": "all"}]}),
    "identity": policy({"paths": ["team/app"], "signatures": [{"signers": ["ci"]}]}),
    "attestations": policy({"paths": ["team/*"], "signatures": [{"signers": ["a"]}], "attestations": MATERIAL}),
    "allow-and-deny": policy({"paths": ["free/*"], "action": "allow"}, {"paths": ["gone/**"], "action": "deny"}),
}


def strict_schema(schema: Any) -> Any:
    """A structural schema of Kubernetes that refuses fields it does not name, as `kubectl` does with strict validation."""
    if isinstance(schema, list):
        return [strict_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict_schema(value) for key, value in schema.items()}
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if "properties" in schema and schema.get("type") == "object" and not is_open:
        made["additionalProperties"] = False
    return made


def resource_schema(target: str, version: str) -> Any:
    module, path = SCHEMAS[target]
    (definition,) = filter(None, yaml.safe_load_all((module_folder(module) / path).read_text()))
    (found,) = (one for one in definition["spec"]["versions"] if one["name"] == version and one["served"])
    schema = strict_schema(found["schema"]["openAPIV3Schema"])
    # What every resource has, and what a policy is not made of.
    schema["properties"] |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    }
    return schema


@pytest.mark.parametrize("made", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("target", SCHEMAS)
def test_a_policy_for_clusters_fits_the_schema_of_its_resource(target: PolicyFormat, made: TrustPolicy) -> None:
    documents = list(yaml.safe_load_all(export_trust_policy(made, "release", target).text))
    assert documents
    for document in documents:
        schema = resource_schema(target, document["apiVersion"].partition("/")[2])
        assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)] == []
        unknown = {**document, "spec": {**document["spec"], "unknown": 1}}
        assert list(jsonschema.Draft7Validator(schema).iter_errors(unknown))


def test_notation_reads_the_trust_policy_that_is_exported(tmp_path: Path) -> None:
    """By notation's library: what the policy allows is in a scope, all else is in none, which notation refuses."""
    made = policy({"paths": ["free/app"], "action": "allow"}, {"paths": ["gone/app"], "action": "deny"})
    file = tmp_path / "trustpolicy.json"
    file.write_text(export_trust_policy(made, "release", "notation").text)
    notation = Client(tool("notation-policy"), (str(file),), {})
    digest = "sha256:" + "0" * 64
    assert notation(f"r.example/free/app@{digest}").stdout == "release skip\n"
    for name in ("gone/app", "other/app", "free/app/x"):
        refused = notation(f"r.example/{name}@{digest}", check=False)
        assert (refused.returncode, "no applicable" in refused.stderr) == (1, True), refused.stderr
    document = json.loads(file.read_text())
    document["trustPolicies"][0]["registryScopes"].append("r.example/free/*")
    file.write_text(json.dumps(document))
    assert notation(f"r.example/free/app@{digest}", check=False).returncode == 1  # the library judges the document too
