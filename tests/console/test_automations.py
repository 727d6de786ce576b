"""The automations that come with us, on a real Prefect server with real events: each does what its file says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it carries no types

from oci.memory import MemoryStore
from tests.console.conftest import Console
from tests.flows.test_sync_flow import image
from tests.receivers import Receiver, receive
from tests.servers import ROOT, tool, wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.slow

SHIPPED = ROOT / "deploy" / "automations"


@pytest.fixture(scope="module")
def alerts(console: Console) -> Iterator[Receiver]:
    """What the webhook of the block `entrepot-alerts` receives."""
    with receive(lambda _: (204, {}, b"")) as received:
        kind = console.ask("GET", "/block_types/slug/webhook")
        (schema,) = console.ask(
            "POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}, "limit": 1}
        )
        console.ask(
            "POST",
            "/block_documents/",
            {
                "name": "entrepot-alerts", "block_type_id": kind["id"], "block_schema_id": schema["id"],
                "data": {"method": "POST", "url": f"{received.url}/alerts", "headers": {}, "allow_private_urls": True},
            },
        )  # fmt: skip
        yield received


def adapted(file: str, folder: Path, replaced: dict[str, str]) -> Path:
    """A copy of a shipped file with other names, as its reader makes one."""
    text = (SHIPPED / file).read_text()
    for name, other in replaced.items():
        assert name in text, name
        text = text.replace(name, other)
    copy = folder / file
    copy.write_text(text)
    return copy


def said_to(alerts: Receiver, kind: str) -> list[dict[str, Any]]:
    bodies = [json.loads(one.body) for one in alerts.received]
    return [one for one in bodies if one["alert"] == kind]


@pytest.mark.parametrize("file", sorted(one.name for one in SHIPPED.iterdir()))
def test_a_shipped_file_says_how_it_is_used(file: str) -> None:
    text = (SHIPPED / file).read_text()
    assert f"entrepot automation apply {file}" in text
    assert all(one["name"].startswith("entrepot: ") for one in yaml.safe_load(text)["automations"])


def test_a_name_of_nothing_is_refused_and_nothing_is_made(console: Console, tmp_path: Path) -> None:
    file = adapted("stale.yaml", tmp_path, {"webhook/entrepot-alerts": "webhook/not-there"})
    refused = console.entrepot("automation", "apply", str(file))
    assert refused.returncode in {1, 2}
    assert "Prefect has no block 'webhook/not-there'" in refused.stderr
    names = {one["name"] for one in console.ask("POST", "/automations/filter", {})}
    assert "entrepot: mirror team/app is stale" not in names


def test_a_run_that_its_deployment_would_refuse_is_told_and_nothing_is_made(console: Console, tmp_path: Path) -> None:
    file = adapted("rebuild.yaml", tmp_path, {"signed_by_key: [release.pub]": "signed_by: [release.pub]"})
    refused = console.entrepot("automation", "apply", str(file))
    assert refused.returncode in {1, 2}
    assert (
        "promote-content refuses its parameters: signed_by: ['release.pub'] is not of type 'string'" in refused.stderr
    )
    names = {one["name"] for one in console.ask("POST", "/automations/filter", {})}
    assert "entrepot: build dev/app on a new base" not in names


def test_a_failed_run_calls_the_webhook(console: Console, alerts: Receiver) -> None:
    for change in ("created", "replaced"):
        applied = console.entrepot.json("automation", "apply", str(SHIPPED / "failure.yaml"))
        assert [one["change"] for one in applied] == [change]
    run = console.run("restore-version", {"repository": "not/here", "version": 1})
    console.await_state(run, "FAILED")
    name = "restore not/here to version 1"  # runs of other tests fail meanwhile
    wait_until(lambda: any(one["run"] == name for one in said_to(alerts, "failed")), 200, "the webhook is called")
    (told,) = [one for one in said_to(alerts, "failed") if one["run"] == name]
    assert told["flow"] == "restore-version"
    assert "not/here" in told["message"]
    assert run in told["url"]
    assert "repo:not/here" in told["tags"]


def test_a_mirror_that_is_not_synced_calls_the_webhook(
    console: Console, alerts: Receiver, upstream: Upstream, store: MemoryStore, tmp_path: Path
) -> None:
    image(store, "v1")
    file = adapted("stale.yaml", tmp_path, {"team/app": "stale/app", "within: 86400": "within: 12"})
    console.entrepot.json("automation", "apply", str(file))
    console.finish("sync-repository", {"remote": f"{upstream.host}/team/app", "repository": "stale/app"})
    told = [one for one in said_to(alerts, "stale") if "stale/app" in one["automation"]]
    wait_until(lambda: len(said_to(alerts, "stale")) > len(told), 200, "the webhook is called")
    assert said_to(alerts, "stale")[-1]["automation"] == "entrepot: mirror stale/app is stale"


@pytest.mark.timeout(900)
def test_a_new_base_is_built_on_signed_and_promoted(
    console: Console, upstream: Upstream, store: MemoryStore, tmp_path: Path
) -> None:
    tool("buildah")
    work = console.entrepot.home / "work"
    (work / "app").mkdir(parents=True)
    (work / "app" / "Containerfile").write_text("ARG BASE\nFROM $BASE\nCOPY message.txt /message.txt\n")
    (work / "app" / "message.txt").write_text("Built on the base.\n")
    make_key(work)
    file = adapted("rebuild.yaml", tmp_path, {"127.0.0.1:5080": f"127.0.0.1:{console.registry}"})
    assert len(console.entrepot.json("automation", "apply", str(file))) == 3
    image(store, "latest")
    console.finish("sync-repository", {"remote": f"{upstream.host}/team/app", "repository": "base/app"})

    def is_promoted() -> bool:
        for name in ("build-image", "sign-content", "promote-content"):
            for run in console.runs_of(name):
                assert run["state"]["type"] not in {"FAILED", "CRASHED"}, run["state"]
        return console.entrepot("version", "list", "prod/app").returncode == 0

    wait_until(is_promoted, 600, "what was built on the new base is promoted")
    (version,) = console.entrepot.json("version", "list", "prod/app")
    assert version["operation"] == "promote"
    verified = console.entrepot("verify", "prod/app:latest", "--key", str(work / "release.pub"))
    assert verified.returncode == 0, verified.stderr


def make_key(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "release.key", folder / "release.pub"
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
