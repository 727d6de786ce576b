"""Policies in other programs' languages: what they can say goes there and back, and what they cannot is refused."""

import base64
import json
import re
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types

from catalog.path_patterns import matches
from catalog.policy.document import TrustPolicy, make_policy, policy_schema
from catalog.policy.formats.exported import NotExpressible, may_overlap
from catalog.policy.formats.exports import POLICY_FORMATS, export_trust_policy
from catalog.policy.formats.kubernetes import glob_expression
from catalog.policy.formats.policy_json_import import import_policy_json
from catalog.policy.formats.root_material import read_root_material
from oci.errors import InvalidInput
from tests.servers import ROOT
from tests.trust import Key

KEY, OTHER = Key(), Key()
PGP = json.loads((ROOT / "tests/vectors/trust/valid-atomic.json").read_text())["policy"]["signers"]["ops"]
TRUST = json.loads((ROOT / "tests/vectors/trust/trust-config.json").read_text())
TRUST["trustedRoot"]["tlogs"][1:] = []  # policy.json carries one
ROOTS = read_root_material(json.dumps(TRUST))
MAIL = {"identity": "ci@example.org", "issuer": "https://issuer.example"}
SIGNERS: dict[str, Any] = {"a": KEY.entry, "b": OTHER.entry, "pgp": PGP, "ci": MAIL}


def policy(*rules: dict[str, Any], default: str = "deny", registry: str = "r.example") -> TrustPolicy:
    used = {
        name
        for rule in rules
        for kind in ("signatures", "attestations")
        for one in rule.get(kind, ())
        for name in one["signers"]
    }
    signers = {name: SIGNERS[name] for name in sorted(used)}
    return make_policy(
        {"version": 1, "registry": registry, "signers": signers, "rules": list(rules), "default": default}, where="t"
    )


def rule(pattern: str, *signers: str, **fields: Any) -> dict[str, Any]:
    return {"paths": [pattern], "signatures": [{"signers": list(signers), "name": "repository", **fields}]}


def no_file(path: str) -> bytes:
    raise InvalidInput(f"{path} cannot be read")


@pytest.mark.parametrize(
    "name",
    [
        "repository",
        "reference",
        "digest-or-reference",
        {"repository": "quay.io/a/b"},
        {"reference": "quay.io/a/b:1"},
        {"prefix": "r.example/x", "signed_prefix": "quay.io/x"},
    ],
)
@pytest.mark.parametrize("signer", ["a", "pgp", "ci"])
def test_policy_json_goes_there_and_back(signer: str, name: Any) -> None:
    made = policy(
        rule("team/app/**", signer, name=name),
        {"paths": ["team/**"], "action": "deny"},
        {"paths": ["free/**"], "action": "allow"},
    )
    text = export_trust_policy(made, "p", "policy.json", roots=ROOTS).text
    again, notes = import_policy_json(text.encode(), registry="r.example", read_file=no_file, roots=ROOTS)
    assert notes == ()
    assert {one.paths: (one.action, [two.name for two in one.signatures]) for one in again.rules} == {
        **{one.paths: (one.action, [two.name for two in one.signatures]) for one in made.rules},
        ("**",): ("deny", []),
    }
    (own,), (back,) = made.signers.values(), again.signers.values()
    assert own.principals == back.principals
    assert json.loads(export_trust_policy(again, "p", "policy.json", roots=ROOTS).text) == json.loads(text)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (policy(rule("team/**", "a", name="any")), "always compares the signed name"),
        (policy(rule("team/*", "a")), "whole namespaces only"),
        (policy(rule("team/**", "a", "b", "pgp", threshold=2)), "one or all signers"),
        (policy(rule("team/**", "a", "pgp")), "of one kind only"),
        (policy(rule("team/**", "a", max_age="3d")), "no times"),
        (policy({**rule("team/**", "a"), "index": "covers-children"}), "never its index"),
        (policy({"paths": ["team/**"], "attestations": [{"type": "slsa", "signers": ["a"]}]}), "no attestations"),
        (policy(rule("team/**", "a"), rule("team/app/**", "b")), "takes the longest scope"),
        (policy({"paths": ["team/app"], "action": "allow"}, rule("team/app/**", "a")), "has one scope"),
        (policy(rule("team/**", "a"), registry="r.example").model_copy(update={"registry": ""}), "set registry"),
    ],
)
def test_policy_json_refuses_what_it_cannot_say(made: TrustPolicy, said: str) -> None:
    with pytest.raises((InvalidInput, NotExpressible), match=said):
        export_trust_policy(made, "p", "policy.json", roots=ROOTS)


def test_policy_json_of_several_signers() -> None:
    document = json.loads(
        export_trust_policy(policy(rule("team/**", "a", "b", threshold="all")), "p", "policy.json").text
    )
    scopes = document["transports"]["docker"]
    assert [one["type"] for one in scopes["r.example/team"]] == ["sigstoreSigned"] * 2
    assert scopes["r.example"] == [{"type": "reject"}] == document["default"]
    document = json.loads(export_trust_policy(policy(rule("team/**", "a", "b")), "p", "policy.json").text)
    (one,) = document["transports"]["docker"]["r.example/team"]
    assert [base64.b64decode(text).decode() for text in one["keyDatas"]] == [KEY.pem, OTHER.pem]
    with pytest.raises(NotExpressible, match="ENTREPOT_SIGSTORE_TRUST_CONFIG"):
        export_trust_policy(policy(rule("team/**", "ci")), "p", "policy.json")


KEY_DATA = base64.b64encode(KEY.pem.encode()).decode()


@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ({"type": "signedBaseLayer"}, "cannot be said"),
        ({"type": "sigstoreSigned", "keyData": KEY_DATA, "more": 1}, "unknown key 'more'"),
        ({"type": "sigstoreSigned"}, "exactly one of keyPath"),
        ({"type": "sigstoreSigned", "keyData": KEY_DATA, "keyPath": "/x"}, "exactly one of keyPath"),
        ({"type": "sigstoreSigned", "keyData": KEY_DATA, "rekorPublicKeyData": KEY_DATA}, "cannot be said"),
        ({"type": "sigstoreSigned", "keyData": "%"}, "no base64"),
        ({"type": "sigstoreSigned", "keyPath": "/absent"}, "cannot be read"),
        ({"type": "sigstoreSigned", "keyData": KEY_DATA, "signedIdentity": {"type": "matchAny"}}, "cannot be said"),
        ({"type": "signedBy", "keyType": "X509Certificates", "keyData": KEY_DATA}, "expected GPGKeys"),
        (
            {
                "type": "sigstoreSigned",
                "fulcio": {"caData": KEY_DATA, "oidcIssuer": "i", "subjectEmail": "e"},
                "rekorPublicKeyData": KEY_DATA,
            },
            "not the one of this installation",
        ),
        (
            {"type": "sigstoreSigned", "fulcio": {"caData": KEY_DATA}, "rekorPublicKeyData": KEY_DATA},
            "names no oidcIssuer",
        ),
    ],
)
def test_requirements_that_cannot_be_said_are_refused(requirement: dict[str, Any], said: str) -> None:
    raw = json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {"r.example": [requirement]}}}).encode()
    with pytest.raises((InvalidInput, NotExpressible), match=said):
        import_policy_json(raw, registry="r.example", read_file=no_file, roots=ROOTS)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ('{"default": [{"type": "reject"}], "default": []}', "twice"),
        ('{"default": [{"type": "reject"}], "extra": 1}', "unknown key"),
        ('{"transports": {}}', "no default"),
        ('{"default": []}', "expected requirements"),
        ('{"default": [{"type": "reject"}], "transports": []}', "expected objects"),
        (
            '{"default": [{"type": "reject"}], "transports": {"docker": {"r.example/a:v1": [{"type": "reject"}]}}}',
            "one tag or digest",
        ),
        (
            '{"default": [{"type": "reject"}], "transports": {"docker": {"*.example": [{"type": "reject"}]}}}',
            "write the host out",
        ),
    ],
)
def test_documents_that_are_none_are_refused(document: str, said: str) -> None:
    with pytest.raises((InvalidInput, NotExpressible), match=said):
        import_policy_json(document.encode(), registry="r.example", read_file=no_file)


def test_import_orders_scopes_and_tells_of_what_is_not_about_us() -> None:
    signed = {"type": "sigstoreSigned", "keyPath": "/key"}
    raw = json.dumps(
        {
            "default": [signed],
            "transports": {
                "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]},
                "docker": {
                    "r.example/a": [{"type": "reject"}],
                    "r.example/a/b": [{"type": "insecureAcceptAnything"}, signed],
                    "quay.io": [{"type": "reject"}],
                },
            },
        }
    ).encode()
    made, notes = import_policy_json(raw, registry="r.example", read_file=lambda _path: KEY.pem.encode())
    assert [(one.paths, one.action) for one in made.rules] == [
        (("a/b/**",), "verify"),
        (("a/**",), "deny"),
        (("**",), "verify"),
    ]
    assert made.rules[0].signatures[0].name == "digest-or-reference"
    assert len(made.signers) == 1
    assert len(notes) == 2
    assert made.default == "deny"


def test_policies_for_clusters() -> None:
    made = policy(
        {
            "paths": ["team/**"],
            "signatures": [{"signers": ["a", "b"], "threshold": "all"}, {"signers": ["ci"]}],
            "attestations": [{"type": "slsa", "signers": ["a"], "builders": ["b1", "b2"]}],
        },
        {"paths": ["free/*"], "action": "allow"},
        {"paths": ["gone/app"], "action": "deny"},
    )
    exported = export_trust_policy(made, "p", "policy-controller")
    documents = list(yaml.safe_load_all(exported.text))
    assert [one["metadata"]["name"] for one in documents] == ["p-1-1", "p-1-2", "p-1-3", "p-1-4", "p-2-1", "p-3-1"]
    whole = [{"glob": f"r.example/team{end}"} for end in ("", ":**", "@**", "/**")]  # a glob fits the tag or digest too
    assert documents[0]["spec"]["images"] == whole
    assert documents[0]["spec"]["authorities"][0]["key"]["data"] == KEY.pem
    assert documents[2]["spec"]["authorities"][0]["keyless"]["identities"] == [
        {"issuer": MAIL["issuer"], "subject": MAIL["identity"]}
    ]
    judged = documents[3]["spec"]["authorities"][0]["attestations"][0]["policy"]
    assert judged["type"] == "rego"
    assert '  input.predicate["runDetails"]["builder"]["id"] in ["b1", "b2"]\n}\n' in judged["data"]
    assert documents[4]["spec"]["authorities"] == [{"name": "static", "static": {"action": "pass"}}]
    assert any("no-match-policy" in note for note in exported.notes)
    (first, denied) = yaml.safe_load_all(
        export_trust_policy(made, "p", "kyverno").text
    )  # it allows what nothing matches
    assert first["kind"] == "ImageValidatingPolicy"
    told = " ".join(one["expression"] for one in first["spec"]["validations"])
    assert "verifyImageSignatures(image, [attestors.s_a, attestors.s_b])).all(e, e >= 2)" in told
    images = "(images.containers + images.initContainers + images.ephemeralContainers)"
    assert [one["expression"] for one in denied["spec"]["validations"]] == [f"{images}.all(image, false)"]
    with pytest.raises(NotExpressible, match="no rule that verifies or denies"):
        export_trust_policy(policy({"paths": ["free/*"], "action": "allow"}), "p", "kyverno")


@pytest.mark.parametrize("target", ["kyverno", "policy-controller"])
@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("team/app", ["team/app"], ["team/app/x", "team/apps", "xteam/app"]),
        ("team/**", ["team", "team/app", "team/a/b"], ["teams", "teams/app"]),
        ("team/*", ["team/app"], ["team", "teams/app"]),
        ("a/**/b", ["a/x/b", "a/x/y/b"], ["a/x/c"]),
    ],
)
def test_references_of_clusters_fit_with_tag_digest_or_both(
    target: Any, pattern: str, fitting: list[str], others: list[str]
) -> None:
    made = policy({"paths": [pattern], "action": "deny"})
    (document,) = yaml.safe_load_all(export_trust_policy(made, "p", target).text)
    if target == "kyverno":
        (one,) = document["spec"]["matchImageReferences"]
        found = [json.loads(one["expression"].removeprefix("ref.matches(").removesuffix(")"))]
    else:
        found = [glob_of_controller(one["glob"]) for one in document["spec"]["images"]]
    for paths, expected in ((fitting, True), (others, False)):
        for path in paths:
            for end in ("", ":v1", "@sha256:" + "0" * 64, ":v1@sha256:" + "0" * 64):
                reference = f"r.example/{path}{end}"
                assert any(re.search(text, reference) for text in found) == expected, reference
                assert not any(re.search(text, f"other.example/{reference}") for text in found)


def glob_of_controller(glob: str) -> str:
    """The regular expression that policy-controller makes of a glob. Source: its pkg/apis/glob."""
    return f"^{glob.replace('.', '[.]').replace('**', '#').replace('*', '[^/]*').replace('#', '.*')}$"


@pytest.mark.parametrize("target", ["kyverno", "policy-controller"])
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([rule("team/**", "a")], "compares no signed names"),
        ([rule("team/**", "pgp", name="any")], "no OpenPGP"),
        ([rule("team/**", "a", name="any", max_age="1d")], "no times"),
        ([rule("team/**", "a", name="any"), rule("team/app", "b", name="any")], "may fit one path"),
    ],
)
def test_clusters_refuse_what_they_cannot_say(target: Any, rules: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(NotExpressible, match=said):
        export_trust_policy(policy(*rules), "p", target)


def test_notation_knows_no_signer_of_ours() -> None:
    with pytest.raises(NotExpressible, match="rule 1 names signers"):
        export_trust_policy(policy(rule("team/app", "a")), "p", "notation")
    made = policy({"paths": ["free/app"], "action": "allow"}, {"paths": ["gone"], "action": "deny"})
    document = json.loads(export_trust_policy(made, "p", "notation").text)
    assert document["trustPolicies"][0]["registryScopes"] == ["r.example/free/app"]
    assert document["trustPolicies"][0]["signatureVerification"] == {"level": "skip"}


@pytest.mark.parametrize("pattern", ["team/**", "team/*", "te?m/app", "**", "a/**/b", "re:team/(app|web)"])
def test_expressions_fit_what_patterns_fit(pattern: str) -> None:
    found = re.compile(glob_expression(pattern))
    for path in ("team", "team/app", "team/app/x", "teamx/app", "a/b", "a/x/b", "a/x/y/b", "team/web", "xteam/app"):
        assert (found.search(path) is not None) == matches(pattern, path), path


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a/**", "b/**", False),
        ("a/**", "a/b", True),
        ("a", "a", True),
        ("a", "ab", False),
        ("a/*", "a/b/c", True),
        ("re:x", "y", True),
        ("team/**", "team", True),
        ("**", "x", True),
    ],
)
def test_overlap_is_denied_only_where_it_is_certain(one: str, other: str, overlap: bool) -> None:
    assert may_overlap(one, other) == may_overlap(other, one) == overlap


def test_the_schema_refuses_unknown_keys_and_every_format_is_known() -> None:
    schema = policy_schema()
    assert schema["additionalProperties"] is False
    assert all(
        one.get("additionalProperties") is False for one in schema["$defs"].values() if one.get("type") == "object"
    )
    assert set(POLICY_FORMATS) == {"policy.json", "kyverno", "policy-controller", "notation"}
