"""Promotion: what passes the gates becomes one version of the target, else nothing changes; services and keys are real."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from catalog.signing.plan import plan_signing
from catalog.versions.changes import AddManifest, Change, SetTag
from flows.promote.flow import prepare_promotion
from flows.promote.request import PromoteRequest
from flows.runs.operation import OperationResult, perform
from oci.errors import Conflict, ManifestUnknown, PromotionRefused
from oci.signing.keys import KeySigner
from tests.cli.commands import Entrepot, PrefectServer
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DEV, PROD = "dev/app", "prod/app"
RUNS = itertools.count()
KEY = ec.generate_private_key(ec.SECP256R1())


@dataclass
class PolicyService:
    """Answers every question as it is told to, and keeps what it was asked."""

    answer: Callable[[dict[str, Any]], tuple[int, bytes]]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def policy() -> Iterator[PolicyService]:
    service = PolicyService(lambda _: (200, b'{"allow": true}'))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["content-length"])))
            service.asked.append(question)
            service.headers.append(dict(self.headers))
            status, body = service.answer(question)
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}/policy"
    yield service
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """dev/app: v1 twenty days ago, v2 two days ago and v1 signed by KEY."""
    with open_catalog(read_settings(home=tmp_path / "entrepot")) as catalog:
        fill(catalog)
        yield catalog


def fill(catalog: Catalog) -> None:
    for tag, days in (("v1", 20), ("v2", 2)):
        image = stage_image(catalog, DEV, tag)
        when = NOW - timedelta(days=days)
        commit_to(catalog, DEV, AddManifest(image), SetTag(tag, image.digest), created_at=when)
    latest = catalog.snapshots.get(DEV)
    changes = plan_signing(
        catalog, latest, [latest.tags["v1"]], KeySigner(KEY), reference=DEV, created="2026-11-26T12:00:00Z"
    )
    commit_to(catalog, DEV, *changes, created_at=NOW)


@pytest.fixture
def public_key(tmp_path: Path) -> Path:
    file = tmp_path / "release.pub"
    file.write_bytes(
        KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return file


def promote(catalog: Catalog, **fields: Any) -> OperationResult:
    request = PromoteRequest(source=DEV, repository=PROD, **fields)
    operation = prepare_promotion(catalog, request, now=NOW)
    return perform(catalog, operation, actor="tester", run_id=f"run-{next(RUNS)}", now=NOW, dry_run=request.dry_run)


def refused(catalog: Catalog, **fields: Any) -> list[dict[str, Any]]:
    """The verdicts of a promotion that is refused and so has changed nothing."""
    before = catalog.snapshots.find(PROD)
    with pytest.raises(PromotionRefused) as caught:
        promote(catalog, **fields)
    assert catalog.snapshots.find(PROD) == before
    return cast("list[dict[str, Any]]", caught.value.detail["gates"])


def test_a_tag_comes_with_its_signatures_and_nothing_else(catalog: Catalog) -> None:
    result = promote(catalog, tags=["v1"])
    source, target = catalog.snapshots.get(DEV), catalog.snapshots.get(PROD)
    signature = next(tag for tag in source.tags if tag.endswith(".sig"))
    assert target.tags == {"v1": source.tags["v1"], signature: source.tags[signature]}
    assert (result.version, result.changed, result.verdicts) == (1, True, ())
    assert catalog.history.version(PROD, 1).message == f"promoted from version {source.version} of {DEV}"
    assert not promote(catalog, tags=["v1"]).changed
    assert promote(catalog, version=1).version == 1  # it has v1 alone, which is there
    with pytest.raises(ManifestUnknown, match="version 1 of dev/app"):
        promote(catalog, version=1, tags=["v2"])


def test_a_mirror_removes_and_additive_does_not(catalog: Catalog) -> None:
    push_image(catalog, PROD, "old", "old")
    assert promote(catalog, tags=["v2"], dry_run=True).version == 1
    promote(catalog, tags=["v2"])
    assert catalog.snapshots.get(PROD).tags.keys() == {"old", "v2"}
    catalog.distributions.put(Distribution(PROD, PROD, NOW, NOW, immutable_tags=("old",)), actor="t")
    gates = refused(catalog, tags=["v2"], mode="mirror")
    assert [(one["gate"], one["tag"], one["allowed"]) for one in gates] == [("immutable", "old", False)]


def test_immutable_tags_of_the_target_stay(catalog: Catalog) -> None:
    push_image(catalog, PROD, "v1", "another")
    catalog.distributions.put(Distribution(PROD, PROD, NOW, NOW, immutable_tags=("v*",)), actor="t")
    gates = refused(catalog, tags=["v1", "v2"])
    assert {(one["tag"], one["allowed"]) for one in gates} == {("v1", False), ("v2", True)}
    assert promote(catalog, tags=["v2"]).changed  # a new tag is set


def test_only_what_is_signed_passes(catalog: Catalog, public_key: Path) -> None:
    gates = refused(catalog, tags=["v1", "v2"], signed_by_key=[public_key])
    assert [(one["tag"], one["allowed"]) for one in gates] == [("v1", True), ("v2", False)]
    result = promote(catalog, tags=["v1"], signed_by_key=[public_key])
    assert [one.reason for one in result.verdicts] == ["signed by release.pub"]
    assert "v1: signed: signed by release.pub" in catalog.history.version(PROD, 1).message
    assert result.to_json()["gates"] == [one.to_json() for one in result.verdicts]


def test_a_tag_that_looks_like_a_signature_is_gated_as_any_other(catalog: Catalog, public_key: Path) -> None:
    image = stage_image(catalog, DEV, "smuggled")
    commit_to(catalog, DEV, AddManifest(image), SetTag(f"sha256-{'0' * 64}.sig", image.digest))
    gates = refused(catalog, include=["v1", "sha256-0*"], signed_by_key=[public_key])
    assert [(one["tag"], one["allowed"]) for one in gates] == [(f"sha256-{'0' * 64}.sig", False), ("v1", True)]


def test_a_manifest_chosen_by_digest_is_gated_too(catalog: Catalog, public_key: Path) -> None:
    digest = catalog.snapshots.get(DEV).tags["v2"]
    gates = refused(catalog, include=["v1", digest], signed_by_key=[public_key])
    assert (digest, False) in {(one["tag"], one["allowed"]) for one in gates}


def test_only_what_the_source_has_had_for_long_passes(catalog: Catalog) -> None:
    gates = refused(catalog, tags=["v1", "v2"], require_age="7d")
    assert [(one["tag"], one["allowed"], one["reason"]) for one in gates] == [
        ("v1", True, "in dev/app for 20.0 days"),
        ("v2", False, "in dev/app for 2.0 days; expected at least 7"),
    ]
    assert promote(catalog, tags=["v1"], require_age="7d").changed


def test_only_what_has_the_labels_passes(catalog: Catalog) -> None:
    assert refused(catalog, tags=["v1"], require_labels=["seed=v2"])[0]["allowed"] is False
    assert promote(catalog, tags=["v1"], require_labels=["seed=v1", "seed"]).changed
    children = [stage_image(catalog, DEV, seed) for seed in ("v1", "v2")]
    index = stage_index(catalog, DEV, children)
    adding: list[Change] = [*map(AddManifest, children), AddManifest(index), SetTag("multi", index.digest)]
    commit_to(catalog, DEV, *adding)
    assert children[1].digest in refused(catalog, tags=["multi"], require_labels=["seed=v1"])[0]["reason"]
    assert promote(catalog, tags=["multi"], require_labels=["seed"]).changed


def test_a_hook_is_told_the_plan_and_decides(catalog: Catalog, policy: PolicyService) -> None:
    push_image(catalog, PROD, "v1", "before")
    policy.answer = lambda _: (
        200,
        b'{"allow": true, "tags": {"v2": {"allow": false, "reason": "CVE-2026-1\\u001b[31m"}}}',
    )
    gates = refused(catalog, tags=["v1", "v2"], hook=policy.url)
    assert [(one["tag"], one["allowed"]) for one in gates] == [("v1", True), ("v2", False)]
    assert "CVE-2026-1[31m" in gates[1]["reason"]
    source, target = catalog.snapshots.get(DEV), catalog.snapshots.get(PROD)
    assert policy.asked == [
        {
            "source": {"repository": DEV, "version": source.version},
            "target": {"repository": PROD, "version": 1},
            "tags": [
                {"tag": "v1", "digest": source.tags["v1"], "previous": target.tags["v1"]},
                {"tag": "v2", "digest": source.tags["v2"], "previous": None},
            ],
            "removed": [],
            "actor": "promote-content",
            "dry_run": False,
        }
    ]
    policy.answer = lambda _: (200, b'{"allow": true, "reason": "fine"}')
    assert promote(catalog, tags=["v1"], hook=policy.url).changed
    assert "v1: hook: 127.0.0.1" in catalog.history.version(PROD, 2).message
    assert not promote(catalog, tags=["v1"], hook=policy.url).changed
    assert len(policy.asked) == 2  # nobody is asked about nothing


UNCLEAR = {
    "empty": (200, b"{}"),
    "nothing": (200, b""),
    "list": (200, b"[]"),
    "text": (200, b'{"allow": "yes"}'),
    "500": (500, b'{"allow": true}'),
    "302": (302, b'{"allow": true}'),
    "no": (200, b'{"allow": false}'),
    "odd tag": (200, b'{"allow": true, "tags": {"v1": true}}'),
    "large": (200, b" " * 2_000_000),
}


def test_what_is_no_clear_yes_is_a_no(catalog: Catalog, policy: PolicyService) -> None:
    for name, answer in UNCLEAR.items():
        policy.answer = lambda _, answer=answer: answer  # type: ignore[misc]
        assert [one["allowed"] for one in refused(catalog, tags=["v1"], hook=policy.url)] == [False], name


def test_silence_is_a_no_and_the_token_goes_to_one_hook_only(tmp_path: Path, policy: PolicyService) -> None:
    settings = read_settings(
        home=tmp_path / "entrepot", promotion_hook=policy.url, promotion_hook_token="secret", promotion_hook_timeout=0.5
    )
    with open_catalog(settings) as catalog:
        fill(catalog)
        assert promote(catalog, tags=["v1"], hook=f"{policy.url}/other").changed
        assert [one.get("Authorization", one.get("authorization")) for one in policy.headers] == ["Bearer secret", None]
        waiting = threading.Event()

        def wait(_: object) -> tuple[int, bytes]:
            waiting.wait(10)
            return 200, b'{"allow": true}'

        policy.answer = wait
        begun = time.monotonic()
        said = refused(catalog, tags=["v2"])
        waiting.set()
        assert time.monotonic() - begun < 8
        assert "no answer" in said[0]["reason"]
        policy.url = ""
    with open_catalog(read_settings(home=tmp_path / "entrepot", promotion_hook="http://127.0.0.1:1/nobody")) as catalog:
        assert "cannot be asked" in refused(catalog, tags=["v2"])[0]["reason"]


def test_gates_are_asked_about_what_is_committed(catalog: Catalog, public_key: Path) -> None:
    request = PromoteRequest(source=DEV, repository=PROD, tags=("v1",), signed_by_key=(public_key,))
    operation = prepare_promotion(catalog, request, now=NOW)
    push_image(catalog, PROD, "v1", "somebody else's")
    with pytest.raises(Conflict):
        perform(catalog, operation, actor="tester", run_id="run", now=NOW)


@pytest.mark.parametrize(
    "fields",
    [{"tags": ["v1"], "include": ["v*"]}, {"signed_identity": "me"}, {"repository": DEV}, {"hook": "ftp://x"},
     {"hook": "http://me:secret@x/"}, {"require_labels": ["=x"]}, {"trust_config": "x"}, {"tags": ["not a tag"]}],
)  # fmt: skip
def test_forms_that_contradict_themselves(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        PromoteRequest(**{"source": DEV, "repository": PROD, **fields})
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_by_the_command_and_undone_by_a_restore(entrepot: Entrepot, prefect: PrefectServer, public_key: Path) -> None:
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        fill(catalog)
        push_image(catalog, PROD, "v0", "zero")
    told = entrepot("promote", DEV, PROD, "--signed-by-key", str(public_key), "--json")
    assert told.returncode == 1
    error = json.loads(told.stdout)["error"]
    assert {(one["tag"], one["allowed"]) for one in error["detail"]["gates"]} == {("v1", True), ("v2", False)}
    assert "nothing was changed" in error["message"]
    arguments = (
        "promote",
        DEV,
        PROD,
        "--include",
        "v1",
        "--signed-by-key",
        str(public_key),
        "--require-age",
        "1d",
        "--require-label",
        "seed",
    )
    planned = entrepot.json(*arguments, "--dry-run")
    assert (planned["version"], planned["changed"], planned["tags"]["v1"]) == (1, False, "added")
    shown = entrepot(*arguments)
    assert shown.returncode == 0, shown.stderr
    assert "signed by release.pub" in shown.stdout
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        row = catalog.history.version(PROD, 2)
    assert (row.operation, row.actor) == ("promote", "promote-content")
    assert "table" in prefect.artifacts(row.flow_run_id)
    assert entrepot.json("version", "restore", PROD, "1")["tags"]["v1"] == "removed"
