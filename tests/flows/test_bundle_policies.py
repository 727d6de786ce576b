"""Trust policies at exports and imports: what they refuse is left out, and one bad tag spoils no other."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.bundles.reader import stage_bundle
from catalog.bundles.trust import JudgedImport
from catalog.bundles.writer import Export, ExportedVersion, plan_export, write_bundle
from catalog.catalog import Catalog
from catalog.policy.document import make_policy
from catalog.policy_gates.reports import ACTIONS
from catalog.settings import read_settings
from catalog.signing.keyless import plan_keyless
from catalog.versions.changes import AddManifest, RemoveTag, SetTag
from cli.main import run
from flows.bundles.import_flow import check_bundle, import_operation, judge_bundle
from flows.bundles.requests import ImportRequest
from flows.runs.operation import OperationResult, perform
from oci.errors import Conflict, PolicyUnknown
from oci.kinds import signature_tag
from oci.signing.keyless import KeylessSigner, load_trust
from tests.flows.test_promote_policies import release, set_gate, sign
from tests.flows.test_sync_policies import OTHER
from tests.homes import new_home
from tests.private_sigstore import ISSUER, PrivateSigstore, identity_token
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
NAME = "team/app"
Opened = Callable[[str], Catalog]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Open catalogues in homes of their own; each has the policy `release` about team/**."""
    made: list[Catalog] = []

    def open_one(name: str, **changes: Any) -> Catalog:
        made.append(Catalog(read_settings(home=new_home(tmp_path / name), **changes)))
        made[-1].policies.set("release", release("team/**"), actor="test", now=NOW)
        return made[-1]

    yield open_one
    for catalog in made:
        catalog.close()


@pytest.fixture
def here(opened: Opened) -> Catalog:
    """team/app: v1 is signed, v2 is not, v3 by another key; an unsigned report refers to v1."""
    catalog = opened("here")
    for tag in ("v1", "v2", "v3"):
        push_image(catalog, NAME, tag, tag)
    tags = catalog.snapshots.get(NAME).tags
    sign(catalog, NAME, tags["v1"])
    sign(catalog, NAME, tags["v3"], OTHER)
    report = stage_image(catalog, NAME, "report", subject={"mediaType": "x/y", "digest": tags["v1"], "size": 1})
    commit_to(catalog, NAME, AddManifest(report), operation_id="report")
    return catalog


def plan(catalog: Catalog, signed_by: str = "", **fields: Any) -> Export:
    return plan_export(catalog, [ExportedVersion(NAME, **fields)], now=NOW, signed_by=signed_by)


def write(catalog: Catalog, bundle: Path, **fields: Any) -> Path:
    write_bundle(catalog, plan(catalog, **fields).contents, bundle, lambda _count: None)
    return bundle


def judge(catalog: Catalog, bundle: Path, **fields: Any) -> JudgedImport:
    request = ImportRequest(bundle=bundle, **fields)
    return judge_bundle(catalog, stage_bundle(catalog, bundle, lambda _count: None), request)[NAME]


def take_in(catalog: Catalog, bundle: Path, **fields: Any) -> OperationResult:
    request = ImportRequest(bundle=bundle, **fields)
    contents = stage_bundle(catalog, bundle, lambda _count: None)
    (one,) = contents.versions
    operation = import_operation(catalog, one, judge_bundle(catalog, contents, request)[NAME], request)
    key = f"{bundle} {fields} {catalog.snapshots.find(NAME)}"
    return perform(catalog, operation, actor="test", run_id=key, now=NOW)


def told(catalog: Catalog) -> set[tuple[str, str]]:
    found = [event for event in catalog.events.latest() if event.action in ACTIONS]
    return {(event.action, str(event.detail["at"])) for event in found}


def test_an_export_leaves_out_what_the_gate_of_the_repository_refuses(here: Catalog, tmp_path: Path) -> None:
    set_gate(here, "team/**", at=("export",))
    export = plan(here)
    (version,) = export.contents.versions
    digest = here.snapshots.get(NAME).tags["v1"]
    assert version.tags.keys() == {"v1", signature_tag(digest)}
    assert {name.partition("@")[0] for name in export.refused} == {"team/app:v2", "team/app:v3", NAME}
    assert export.refused["team/app:v2"].startswith("policy release: rule 1 is not satisfied: no signature")
    assert export.refused.items() <= export.dropped.items()
    assert export.kept.keys() == {"team/app:v1", f"team/app:{signature_tag(digest)}"}
    blobs = {one for parts in here.history.children(NAME, version.manifests).values() for one in parts}
    assert export.contents.blobs.keys() == blobs | version.manifests.keys()
    assert len(version.manifests) == 3  # the image, and its signature in both forms
    other = write(here, tmp_path / "signed.tar")
    assert plan(here).contents.blobs.keys() == export.contents.blobs.keys()
    assert other.is_file()


def test_an_export_by_a_policy_or_a_filter_and_of_nothing(here: Catalog) -> None:
    assert plan(here).refused == {}
    assert len(plan(here).contents.versions[0].tags) == 5
    assert plan(here, signed_by="release").refused.keys() >= {"team/app:v2", "team/app:v3"}
    with pytest.raises(PolicyUnknown):
        plan(here, signed_by="none")
    set_gate(here, "team/**", at=("export",), mode="warn")
    export = plan(here)
    assert export.refused == {}
    assert any(note.startswith("v2 would be refused by the policy release") for note in export.judged[NAME].notes)
    commit_to(here, NAME, RemoveTag("v1"), operation_id="untag")
    here.policies.set("release", make_policy({"version": 1, "default": "deny"}, where="it"), actor="test", now=NOW)
    assert plan(here, signed_by="release").contents.versions == ()  # and not an empty version, which a mirror would be


@pytest.mark.parametrize("form", ["bundle.tar", "bundle"])
def test_an_import_leaves_out_what_the_gate_refuses_by_the_signatures_in_the_bundle(
    here: Catalog, opened: Opened, tmp_path: Path, form: str
) -> None:
    bundle = write(here, tmp_path / form)
    there = opened("there")
    set_gate(there, "team/**", at=("import",))
    contents, allowed = check_bundle(there, bundle, ImportRequest(bundle=bundle, dry_run=True))
    assert not any(there.content.linked(NAME, digest) for digest in contents.blobs)  # nothing was stored
    assert told(there) == set()
    result = take_in(there, bundle)
    assert allowed[NAME].judged.refused == result.refused
    assert {name for name in result.refused if "sha256" not in name} == {"v2", "v3"}
    held, tags = there.snapshots.get(NAME), here.snapshots.get(NAME).tags
    assert held.tags == {"v1": tags["v1"], signature_tag(tags["v1"]): tags[signature_tag(tags["v1"])]}
    assert len(held.manifests) == 3
    assert {item.tag: item.action for item in result.items if "sha256" not in item.tag} == {
        "v1": "added",
        "v2": "refused",
        "v3": "refused",
    }
    assert told(there) == {("policy-refuse", "import")}
    assert there.policies.decide(NAME, tags["v1"], held, NOW, name="release").is_allowed  # type: ignore[union-attr]
    assert not take_in(there, bundle).changed


def test_a_mirror_keeps_what_is_here_for_a_tag_that_is_refused(here: Catalog, opened: Opened, tmp_path: Path) -> None:
    there = opened("there")
    push_image(there, NAME, "v2", "older")
    push_image(there, NAME, "gone", "gone")
    older = there.snapshots.get(NAME).tags["v2"]
    sign(there, NAME, older)
    bundle = write(here, tmp_path / "bundle.tar")
    result = take_in(there, bundle, signed_by="release")
    assert result.refused.keys() >= {"v2", "v3"}
    tags = there.snapshots.get(NAME).tags
    assert {tag for tag in tags if not tag.startswith("sha256-")} == {"v1", "v2"}
    assert (tags["v2"], signature_tag(older) in tags) == (older, True)


def test_a_differential_bundle_is_judged_with_what_it_builds_on(here: Catalog, opened: Opened, tmp_path: Path) -> None:
    there = opened("there")
    set_gate(there, "team/**", at=("import",))
    first = write(here, tmp_path / "first.tar", version=5)
    take_in(there, first)
    push_image(here, NAME, "v4", "v4")
    sign(here, NAME, here.snapshots.get(NAME).tags["v4"])
    commit_to(here, NAME, SetTag("again", here.snapshots.get(NAME).tags["v1"]), operation_id="again")
    with pytest.raises(Exception, match="builds on version 5"):  # v2 and v3 were refused there
        take_in(there, write(here, tmp_path / "more.tar", since=5))
    here.policies.set("only", release("team/**"), actor="test", now=NOW)
    set_gate(here, "team/**", at=("export",), policy="only")
    second = write(here, tmp_path / "second.tar", since=5)
    commit_to(there, NAME, RemoveTag("v1"), operation_id="untag")
    result = take_in(there, second)
    assert result.refused == {}
    assert {tag for tag in there.snapshots.get(NAME).tags if "-" not in tag} == {"v1", "v4", "again"}


def test_what_was_not_judged_is_not_imported_when_others_change_the_repository(
    here: Catalog, opened: Opened, tmp_path: Path
) -> None:
    bundle = write(here, tmp_path / "bundle.tar")
    there = opened("there")
    take_in(there, bundle)
    set_gate(there, "team/**", at=("import",))
    request = ImportRequest(bundle=bundle)
    contents = stage_bundle(there, bundle, lambda _count: None)
    allowed = judge_bundle(there, contents, request)[NAME]
    assert allowed.judged.refused == {}  # all of it is here
    commit_to(there, NAME, RemoveTag("v2"), operation_id="untag")
    operation = import_operation(there, contents.versions[0], allowed, request)
    with pytest.raises(Conflict, match="policies were not asked about all"):
        perform(there, operation, actor="test", run_id="late", now=NOW)


def test_certificates_in_a_bundle_are_verified_without_a_network(
    here: Catalog, opened: Callable[..., Catalog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "trust.json"
    with PrivateSigstore() as sigstore:
        trusted.write_text(sigstore.trust_config)
        signer = KeylessSigner(load_trust(trusted.read_text(), where="it"), identity_token("ci@team.example"))
        snapshot = here.snapshots.get(NAME)
        changes = plan_keyless(here, snapshot, [snapshot.tags["v2"]], signer, created="2026-11-26T12:00:00Z")
        commit_to(here, NAME, *changes, operation_id="keyless")
    bundle = write(here, tmp_path / "bundle.tar")
    document = {
        "version": 1,
        "signers": {"ci": {"identity": "ci@team.example", "issuer": ISSUER}},
        "rules": [{"paths": ["team/**"], "signatures": [{"signers": ["ci"]}]}],
    }
    monkeypatch.setattr("oci.signing.keyless.ClientTrustConfig.production", lambda *_: pytest.fail("over the network"))
    outcomes = {}
    for name, settings in (("without", {}), ("with", {"sigstore_trust_config": trusted})):
        there = opened(name, **settings)
        there.policies.set("release", make_policy(document, where="it"), actor="test", now=NOW)
        outcomes[name] = judge(there, bundle, signed_by="release").judged.refused
    assert "ENTREPOT_SIGSTORE_TRUST_CONFIG" in outcomes["without"]["v2"]
    assert "v2" not in outcomes["with"]
    assert outcomes["with"].keys() >= {"v1", "v3"}


def test_the_commands_say_what_they_leave_out(
    here: Catalog, opened: Opened, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(home: str, *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run([*arguments, "--home", str(tmp_path / home)])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    set_gate(here, "team/**", at=("export",), mode="dry-run")
    here.close()
    bundle = str(tmp_path / "all.tar")
    code, text = command("here", "export", bundle, NAME)
    assert (code, "note: team/app:v2 would be refused by the policy release" in text) == (0, True)
    code, text = command("here", "export", str(tmp_path / "part.tar"), NAME, "--signed-by", "release")
    assert (code, "refused: team/app:v2: policy release: rule 1" in text) == (0, True)
    opened("there").close()
    code, text = command("there", "import", bundle, "--signed-by", "release", "--dry-run", "--json")
    assert (code, json.loads(text)["refused"].keys() >= {"team/app:v2", "team/app:v3"}) == (0, True)
    code, text = command("there", "import", bundle, "--signed-by", "release")
    assert (code, "refused: team/app:v3: policy release: rule 1" in text) == (0, True)
    code, text = command("there", "tag", "list", NAME, "--json")
    assert {row["tag"] for row in json.loads(text)["tags"] if "-" not in row["tag"]} == {"v1"}
    assert command("there", "import", bundle, "--signed-by", "none")[0] == 1
