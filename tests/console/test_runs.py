"""What runs leave in Prefect: events with related resources, one keyed artifact for each mirror, reports, blocks."""

import json
from typing import Any

import pytest

from oci.memory import MemoryStore
from tests.conftest import DockerRegistryFactory
from tests.console.conftest import Console
from tests.flows.test_sync_flow import image
from tests.servers import Client, wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.slow


def await_events(console: Console, event: str, resource: str, count: int) -> list[dict[str, Any]]:
    wait_until(lambda: len(console.events(event, resource)) >= count, 200, f"{count} {event} of {resource}")
    found = console.events(event, resource)
    assert len(found) == count
    return found


def test_a_version_is_one_event_of_the_run_that_made_it(
    console: Console, upstream: Upstream, store: MemoryStore
) -> None:
    for number in range(5):
        image(store, f"v{number}")
    remote = f"{upstream.host}/team/app"
    run = console.finish("sync-repository", {"remote": remote, "repository": "told/app"})
    console.finish("sync-repository", {"remote": remote, "repository": "told/app"})  # nothing new: no version, no event
    by_command = console.entrepot.json("sync", remote, "told/by-command")
    (told,) = await_events(console, "entrepot.version.created", "told/app", 1)
    roles = {(one["prefect.resource.role"], one["prefect.resource.id"]) for one in told["related"]}
    assert ("upstream", f"entrepot.upstream.{remote}") in roles
    assert ("flow-run", f"prefect.flow-run.{run['id']}") in roles
    assert ("tag", "prefect.tag.repo:told/app") in roles
    assert told["payload"]["changed"]["tags_set"] == 5
    assert told["payload"]["page"] == f"http://127.0.0.1:{console.registry}/repository/told/app"
    (told,) = await_events(console, "entrepot.version.created", "told/by-command", 1)
    related = {one["prefect.resource.id"] for one in told["related"]}
    assert f"prefect.flow-run.{by_command['flow_run_id']}" in related


def test_a_replication_tells_of_each_path(
    console: Console, docker_registry: DockerRegistryFactory, skopeo: Client, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    registry = docker_registry()
    source, target = (f"docker://{host}/team/app:v1" for host in (upstream.host, registry.host))
    skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)
    done = console.finish("replicate-registry", {"upstream": registry.host, "kind": "catalog", "include": ["team/app"]})
    (told,) = await_events(console, "entrepot.path.changed", "team/app", 1)
    assert told["resource"]["entrepot.change"] == "added"
    (report,) = [one for key, one in console.artifacts(done["id"]).items() if key.startswith("replicate-")]
    assert report["type"] == "markdown"
    assert "pie showData" in report["data"]
    assert f"http://127.0.0.1:{console.registry}/repository/team/app" in report["data"]


def test_the_artifact_of_a_mirror_has_the_mirrors_history(
    console: Console, upstream: Upstream, store: MemoryStore
) -> None:
    remote = f"{upstream.host}/team/app"
    keys = set[str]()
    for tag in ("v1", "v2"):
        image(store, tag)
        run = console.finish("sync-repository", {"remote": remote, "repository": "kept/app"})
        keyed = {key: one for key, one in console.artifacts(run["id"]).items() if key != "None"}
        assert len(keyed) == 1
        keys |= keyed.keys()
        (shown,) = keyed.values()
        assert f"http://127.0.0.1:{console.registry}/repository/kept/app" in shown["description"]
    (key,) = keys
    history = console.ask("POST", "/artifacts/filter", {"artifacts": {"key": {"any_": [key]}}, "sort": "CREATED_DESC"})
    assert [sum(row["action"] == "added" for row in json.loads(one["data"])) for one in history] == [1, 1]
    many = console.entrepot.json("sync-many", remote, "--below", "many")
    assert many["counts"]["synced"] == 1


def test_wrong_parameters_are_in_the_log_of_a_run_with_a_name(console: Console) -> None:
    """What the schema cannot say: fields that go together."""
    wanted: dict[str, object] = {"remote": "registry.example/app", "newest_by": "created"}
    ended = console.await_state(console.run("sync-repository", wanted), "FAILED")
    assert ended["name"] == "sync registry.example/app"
    assert "newest_by needs newest" in ended["state"]["message"]
    wait_until(lambda: "newest_by needs newest" in console.logs(ended["id"]), 30, "the log has the reason")


def test_a_form_takes_a_block_in_the_place_of_a_file(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    work = console.entrepot.home / "work"
    work.mkdir(exist_ok=True)
    (work / "upstream-auth.json").write_text(json.dumps({"auths": {upstream.host: {"auth": "dXNlcjpwYXNzd29yZA=="}}}))
    kind = console.ask("GET", "/block_types/slug/entrepot-upstream-login")
    (schema,) = console.ask(
        "POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}, "limit": 1}
    )
    document = console.ask(
        "POST",
        "/block_documents/",
        {
            "name": "team-login", "block_type_id": kind["id"], "block_schema_id": schema["id"],
            "data": {"file": "upstream-auth.json"},
        },
    )  # fmt: skip
    fields: dict[str, object] = {
        "remote": f"{upstream.host}/team/app", "repository": "by/block",
        "logins": {"$ref": {"block_document_id": document["id"]}},
    }  # fmt: skip
    run = console.finish("sync-repository", fields)
    assert "password" not in json.dumps(run) + console.logs(run["id"])
    outside = console.run("sync-repository", {**fields, "logins": "/etc/passwd"})
    assert "outside of what flows of a worker may use" in console.await_state(outside, "FAILED")["state"]["message"]
