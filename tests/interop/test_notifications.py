"""Others that tell us, and we who tell others: docker-registry's notifications, and a second Entrepôt."""

import asyncio
from pathlib import Path

import pytest

from oci.copy import copy_graph
from oci.layout import Layout
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, give_prefect_database
from tests.conftest import EntrepotFactory
from tests.mirror import upload
from tests.receivers import fake_prefect
from tests.servers import Children, Client, answers, free_port, get, start_docker_registry, wait_until


def test_a_push_to_docker_registry_starts_a_run(
    children: Children, entrepot_server: EntrepotFactory, tmp_path: Path
) -> None:
    with fake_prefect() as prefect:
        ours = entrepot_server(tmp_path / "entrepot", env={"ENTREPOT_PREFECT_API_URL": prefect.api_url})
        command = Entrepot(ours.home, children)
        made = command.json(
            "hook", "create", "upstream", "upstream.example/team", "--kind", "docker-distribution", "--target", "mirror",
            "--tag", "v*", "--quiet", "0.2s",
        )  # fmt: skip
        endpoint = {
            "name": "entrepot", "url": f"{ours.url}/api/v1/hooks/upstream", "timeout": "2s", "threshold": 3, "backoff": "1s",
            "headers": {"Authorization": [f"Bearer {made['secret']}"]},
        }  # fmt: skip
        upstream = start_docker_registry(children, settings={"notifications": {"endpoints": [endpoint]}})
        upload(upstream, "team/app", "latest", "a layer")
        upload(upstream, "other/app", "v1", "a layer")
        upload(upstream, "team/app", "v1", "a layer")
        (run,) = prefect.await_runs(1)
        assert run["parameters"] == {
            "remote": "upstream.example/team/app", "repository": "mirror/app", "include": ["v1"],
        }  # fmt: skip
        assert run["tags"] == ["hook:upstream"]


@pytest.mark.slow
def test_a_push_to_one_entrepot_is_pulled_from_another(
    children: Children, entrepot_server: EntrepotFactory, skopeo: Client, podman: Client, tmp_path: Path,
    prefect_database: Path,
) -> None:  # fmt: skip
    """A push to A → a CloudEvent → B's hook → a flow run on B's worker → a pull from B."""
    first = entrepot_server(tmp_path / "a")
    second = Entrepot(give_prefect_database(tmp_path / "b", prefect_database), children)
    port, prefect = free_port(), free_port()
    running = second.start("up", "--listen", f"127.0.0.1:{port}", "--prefect-port", str(prefect), "--json")
    made = second.json(
        "hook", "create", "of-a", f"http://{first.host}", "--kind", "cloudevents", "--proof", "hmac", "--target", "mirror",
        "--quiet", "0.5s", "--request", '{"policy": "on_demand"}',
    )  # fmt: skip
    secret = tmp_path / "secret"
    secret.write_text(made["secret"])
    running.wait_ready(lambda: (second.home / "up.json").exists() and '"pull"' in running.output(), seconds=240)

    command = Entrepot(first.home, children)
    told = command.json(
        "subscription", "create", f"http://127.0.0.1:{port}/api/v1/hooks/of-a", "--event", "version.created",
        "--repository", "team/**", "--secret-file", str(secret),
    )  # fmt: skip
    assert command.json("subscription", "test", told["id"])["status"] == 202

    image = build_image(tmp_path / "image")
    for tag in ("v1", "v2"):
        skopeo(
            "copy", "--dest-tls-verify=false", "--dest-creds", first.creds, f"oci:{image}:v1", f"docker://{first.host}/team/app:{tag}"
        )  # fmt: skip
    tags = f"http://127.0.0.1:{port}/v2/mirror/team/app/tags/list"
    wait_until(lambda: answers(tags) and get(tags).json()["tags"] == ["v1", "v2"], 120, "both tags are at B")
    podman("pull", "--tls-verify=false", f"127.0.0.1:{port}/mirror/team/app:v2")
    (*_, version) = second.json("version", "list", "mirror/team/app")
    assert version["operation"] == "sync"
    login = (second.home / "prefect-login").read_text().strip()
    flow_run = get(f"http://127.0.0.1:{prefect}/api/flow_runs/{version['flow_run_id']}", login=login).json()
    assert (flow_run["state_type"], "hook:of-a" in flow_run["tags"]) == ("COMPLETED", True)
    wait_until(lambda: command.json("subscription", "show", told["id"])["delivered"] == 2, 20, "both are counted")
    assert command.json("subscription", "delete", told["id"]) == {"deleted": told["id"]}
    assert command.json("subscription", "list") == []


def build_image(folder: Path) -> Path:
    """An OCI layout with one small image, tagged v1."""
    store = MemoryStore()
    image = pack_image(store, [{"etc/hello": "hello"}], config={"Cmd": ["/hello"]})

    async def write() -> None:
        layout = Layout.create(folder)
        await copy_graph(store, layout, image.descriptor)
        await layout.write_tag("v1", image)

    asyncio.run(write())
    return folder
