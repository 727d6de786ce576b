"""Trust policies in a promotion: what the target's policies refuse is not promoted, and what refers to it decides nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.policy.document import make_policy
from catalog.policy.gate_rules import PolicyGateRule
from catalog.policy_gates.reports import ACTIONS
from catalog.settings import read_settings
from catalog.signing.plan import plan_signing
from catalog.versions.changes import AddManifest, RemoveManifest, SetTag
from flows.promote.flow import prepare_promotion
from flows.promote.request import PromoteRequest
from flows.runs.operation import OperationResult, perform
from oci.digest import Digest
from oci.errors import Conflict, PolicyUnknown, PromotionRefused
from oci.kinds import signature_tag
from tests.flows.test_sync_policies import KEY, OTHER, PUBLIC
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_index, stage_manifest

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DEV, PROD = "dev/app", "prod/app"


def release(*paths: str, **fields: Any) -> Any:
    rule = {"paths": list(paths), "signatures": [{"signers": ["release"]}], **fields}
    return make_policy(
        {"version": 1, "signers": {"release": {"keys": [PUBLIC]}}, "rules": [rule]}, where="the test's policy"
    )


def sign(catalog: Catalog, repository: str, digest: Digest, key: Any = KEY) -> None:
    changes = plan_signing(
        catalog, catalog.snapshots.get(repository), [digest], key, reference=repository, created="2026-11-26T12:00:00Z"
    )
    commit_to(catalog, repository, *changes, operation_id=f"sign {digest}")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """dev/app: v1 is signed, v2 is not, v3 by another key; the policy `release` is about prod/**."""
    with open_catalog(read_settings(home=new_home(tmp_path / "entrepot"))) as catalog:
        for tag in ("v1", "v2", "v3"):
            push_image(catalog, DEV, tag, tag)
        sign(catalog, DEV, catalog.snapshots.get(DEV).tags["v1"])
        sign(catalog, DEV, catalog.snapshots.get(DEV).tags["v3"], OTHER)
        catalog.policies.set("release", release("prod/**"), actor="test", now=NOW)
        yield catalog


def set_gate(catalog: Catalog, pattern: str, **fields: Any) -> None:
    rule = PolicyGateRule(
        **{"pattern": pattern, "policy": "release", "at": ("promote",), "set_by": "test", "set_at": NOW, **fields}
    )
    catalog.policies.set_gate(rule)


def promote(catalog: Catalog, **fields: Any) -> OperationResult:
    request = PromoteRequest(source=DEV, repository=PROD, **fields)
    operation = prepare_promotion(catalog, request, now=NOW)
    return perform(catalog, operation, actor="tester", run_id=f"{fields}", now=NOW, dry_run=request.dry_run)


def refusals(catalog: Catalog, **fields: Any) -> dict[str, str]:
    with pytest.raises(PromotionRefused) as caught:
        promote(catalog, **fields)
    assert catalog.snapshots.find(PROD) is None
    verdicts: list[dict[str, Any]] = caught.value.detail["gates"]  # type: ignore[assignment]
    return {one["tag"]: one["reason"] for one in verdicts if not one["allowed"]}


def told(catalog: Catalog) -> list[tuple[str, str, str]]:
    return [
        (event.name, event.action, str(event.detail["at"]))
        for event in catalog.events.latest()
        if event.action in ACTIONS
    ]


def test_a_gate_of_the_target_refuses_with_the_reason_and_the_policy(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    found = refusals(catalog, tags=["v1", "v2", "v3"])
    assert found.keys() == {"v2", "v3"}
    assert found["v2"].startswith("policy release: rule 1 is not satisfied: no signature")
    assert "policy release: rule 1 is not satisfied" in found["v3"]
    assert told(catalog) == [(PROD, "policy-refuse", "promote")] * 2
    result = promote(catalog, tags=["v1"])
    assert [(one.gate, one.name, one.reason) for one in result.verdicts] == [("policy", "v1", "allowed by release")]
    assert "v1: policy: allowed by release" in catalog.history.version(PROD, 1).message


def test_a_dry_run_judges_and_tells_nobody(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    assert refusals(catalog, tags=["v2"], dry_run=True).keys() == {"v2"}
    assert told(catalog) == []
    assert promote(catalog, tags=["v1"], dry_run=True).verdicts[0].allowed


@pytest.mark.parametrize(("mode", "action"), [("warn", "policy-warn"), ("dry-run", "policy-dry-run")])
def test_a_gate_that_only_warns_lets_pass_and_says_so(catalog: Catalog, mode: str, action: str) -> None:
    set_gate(catalog, "prod/**", mode=mode)
    result = promote(catalog, tags=["v2"])
    assert result.changed
    assert any(note.startswith("v2 would be refused by the policy release: ") for note in result.notes)
    assert result.verdicts[0].reason.startswith("would be refused by the policy release: ")
    assert told(catalog) == [(PROD, action, "promote")]


def test_a_policy_by_name_is_asked_about_the_target(catalog: Catalog) -> None:
    assert refusals(catalog, tags=["v2"], signed_by="release").keys() == {"v2"}
    catalog.policies.set("elsewhere", release("dev/**"), actor="test", now=NOW)
    assert "no rule fits prod/app" in refusals(catalog, tags=["v1"], signed_by="elsewhere")["v1"]
    with pytest.raises(PolicyUnknown):
        promote(catalog, tags=["v1"], signed_by="none")
    assert promote(catalog, tags=["v1"], signed_by="release").changed


def test_gates_of_other_points_and_of_the_source_are_not_asked(catalog: Catalog) -> None:
    set_gate(catalog, "dev/**")
    set_gate(catalog, "prod/**", at=("pull", "sync", "import"))
    assert promote(catalog, tags=["v2"]).verdicts == ()


def test_another_path_that_serves_the_target_is_no_way_round(catalog: Catalog) -> None:
    catalog.policies.set("release", release("public/**"), actor="test", now=NOW)
    set_gate(catalog, "public/**")
    catalog.distributions.put(Distribution("public/app", PROD, NOW, NOW), actor="test")
    assert refusals(catalog, tags=["v2"]).keys() == {"v2"}
    assert promote(catalog, tags=["v1"]).changed


def test_signatures_that_are_not_promoted_with_it_do_not_count(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    old = catalog.snapshots.get(DEV, 2)  # v1 and v2, before anything was signed
    assert refusals(catalog, version=old.version, tags=["v1"]).keys() == {"v1"}


def test_a_companion_that_is_refused_is_left_out_and_keeps_nothing_back(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    image = catalog.snapshots.get(DEV).tags["v1"]
    report = stage_image(catalog, DEV, "report", subject={"mediaType": "x/y", "digest": image, "size": 1})
    fake = stage_image(catalog, DEV, "an image under a tag of companions")
    commit_to(
        catalog,
        DEV,
        AddManifest(report),
        AddManifest(fake),
        SetTag(signature_tag(image).removesuffix(".sig"), fake.digest),
    )
    result = promote(catalog, tags=["v1"])
    held = catalog.snapshots.get(PROD)
    assert held.tags.keys() == {"v1", signature_tag(image)}
    assert held.manifests.keys().isdisjoint({report.digest, fake.digest})
    assert len([note for note in result.notes if "is left out: policy release" in note]) == 2
    later = promote(catalog, tags=["v1"], version=catalog.snapshots.get(DEV).version)
    assert not later.changed  # what is refused does not come without the image either


def test_an_image_that_a_statement_calls_its_layer_is_judged_all_the_same(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    image = catalog.snapshots.get(DEV).tags["v1"]
    subject = {"mediaType": "x/y", "digest": image, "size": 1}
    hidden = stage_image(catalog, DEV, "hidden", subject=subject)
    raw = catalog.manifests.raw(hidden.digest)
    statement = stage_statement(catalog, raw, hidden.digest, subject)
    commit_to(catalog, DEV, AddManifest(hidden), AddManifest(statement))
    promote(catalog, tags=["v1"])
    held = catalog.snapshots.get(PROD)
    assert statement.digest in held.manifests
    assert hidden.digest not in held.manifests


def stage_statement(catalog: Catalog, raw: bytes, digest: Digest, subject: dict[str, object]) -> Any:
    stage_blob(catalog, DEV, raw)
    stage_blob(catalog, DEV, b"{}")
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest.of(b"{}"), "size": 2}
    layer = {"mediaType": "application/spdx+json", "digest": digest, "size": len(raw)}
    media_type = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": media_type, "config": empty, "layers": [layer], "subject": subject}
    return stage_manifest(catalog, DEV, document, media_type)


def test_an_index_covers_its_children_where_the_rule_says_so(catalog: Catalog) -> None:
    catalog.policies.set("release", release("prod/**", index="covers-children"), actor="test", now=NOW)
    set_gate(catalog, "prod/**")
    child = stage_image(catalog, DEV, "child")
    index = stage_index(catalog, DEV, [child])
    commit_to(
        catalog, DEV, AddManifest(child), AddManifest(index), SetTag("all", index.digest), SetTag("amd64", child.digest)
    )
    assert refusals(catalog, tags=["all"]).keys() == {"all"}
    sign(catalog, DEV, index.digest)
    assert refusals(catalog, tags=["amd64"]).keys() == {"amd64"}  # the index does not come with it
    assert promote(catalog, tags=["all", "amd64"]).changed


def test_what_was_not_judged_does_not_come_when_the_target_changes(catalog: Catalog) -> None:
    set_gate(catalog, "prod/**")
    image = catalog.snapshots.get(DEV).tags["v1"]
    report = stage_image(catalog, DEV, "report", subject={"mediaType": "x/y", "digest": image, "size": 1})
    commit_to(catalog, DEV, AddManifest(report))
    set_gate(catalog, "prod/**", mode="dry-run")
    promote(catalog, tags=["v1"])
    set_gate(catalog, "prod/**")
    request = PromoteRequest(source=DEV, repository=PROD, tags=("v1", "v3"))
    with pytest.raises(PromotionRefused):
        prepare_promotion(catalog, request, now=NOW)
    request = PromoteRequest(source=DEV, repository=PROD, tags=("v1",))
    operation = prepare_promotion(catalog, request, now=NOW)
    commit_to(catalog, PROD, RemoveManifest(report.digest), operation_id="gone")
    with pytest.raises(Conflict):
        perform(catalog, operation, actor="tester", run_id="late", now=NOW)
