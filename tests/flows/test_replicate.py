"""A second installation discovers what a first one serves, an Entrepôt or a Pulp, and serves the same."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.distributions.replication import switch
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest
from flows.replicate.procedure import UNCHANGED
from oci.memory import MemoryStore
from oci.pack import pack_image
from oci.remote.discovery.served import Served
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.mirror import upload
from tests.servers import Client, EntrepotServer, get
from tests.unit.catalog.conftest import commit_to, push_image, stage_image
from tests.upstream import Reply, Seen, Upstream

pytestmark = pytest.mark.slow
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def first(entrepot_server: EntrepotFactory, tmp_path: Path) -> EntrepotServer:
    """team/app with v1 and v2, stable/app pinned to its version 1, the private team/secret."""
    home = tmp_path / "first"
    with open_catalog(read_settings(home=home)) as catalog:
        for tag in ("v1", "v2"):
            push_image(catalog, "team/app", tag, tag, ("shared", tag))
        push_image(catalog, "team/secret", "v1", "secret")
        stable = Distribution(
            "stable/app", "team/app", NOW, NOW, 1, description="old", labels={"tier": "prod", "eu": ""}
        )
        catalog.distributions.put(stable, actor="test")
        catalog.distributions.put(Distribution("team/secret", "team/secret", NOW, NOW, private=True), actor="test")
        catalog.distributions.put(Distribution("cache", "", NOW, NOW, remote="registry.example"), actor="test")
    return entrepot_server(home)


def actions(result: dict[str, list[dict[str, object]]]) -> dict[object, object]:
    return {one["path"]: one["action"] for one in result["distributions"]}


def test_an_entrepot_and_again(
    first: EntrepotServer,
    entrepot: Entrepot,
    prefect: PrefectServer,
    entrepot_server: EntrepotFactory,
    skopeo: Client,
    tmp_path: Path,
) -> None:
    anonymous = entrepot.json("replicate", first.host, "--exclude", "stable/*")
    assert (anonymous["kind"], actions(anonymous)) == ("entrepot", {"team/app": "added"})
    assert anonymous["not_selected"] == ["stable/app"]

    entrepot.env["ENTREPOT_LOGINS"] = json.dumps({first.host: first.creds})
    planned = entrepot.json("replicate", first.host, "--dry-run")
    assert actions(planned) == {"stable/app": "to sync", "team/app": "unchanged", "team/secret": "to sync"}
    labelled = entrepot.json("replicate", first.host, "--dry-run", "--label", "tier=prod", "--label", "eu")
    assert actions(labelled) == {"stable/app": "to sync"}
    result = entrepot.json("replicate", first.host)
    assert actions(result) == {"stable/app": "added", "team/app": "unchanged", "team/secret": "added"}
    assert prefect.flow_run(result["flow_run_id"])["state"]["type"] == "COMPLETED"
    assert first.password not in json.dumps(prefect.flow_run(result["flow_run_id"]))

    second = entrepot_server(entrepot.home)
    for name in ("team/app:v1", "team/app:v2", "stable/app:v1", "team/secret:v1"):
        raw = [
            skopeo("inspect", "--raw", "--tls-verify=false", f"--creds={one.creds}", f"docker://{one.host}/{name}")
            for one in (first, second)
        ]
        assert raw[0].stdout == raw[1].stdout
    skopeo("copy", "--src-tls-verify=false", f"docker://{second.host}/team/app:v2", f"dir:{tmp_path / 'v2'}")
    assert get(f"{second.url}/v2/stable/app/tags/list").json()["tags"] == ["v1"]
    assert get(f"{second.url}/v2/team/secret/tags/list").status_code == 401

    assert entrepot.json("distribution", "show", "stable/app")["labels"] == {"tier": "prod", "eu": ""}
    before = entrepot.json("distribution", "list")
    again = entrepot.json("replicate", first.host)
    assert set(actions(again).values()) == {"unchanged"}
    assert {one["note"] for one in again["distributions"]} == {UNCHANGED}  # by what the list says, without a sync
    assert entrepot.json("distribution", "list") == before
    assert [one["number"] for one in entrepot.json("version", "list", "team/app")] == [1]


def test_what_is_gone_upstream_and_what_is_somebody_else_s(first: EntrepotServer, entrepot: Entrepot) -> None:
    entrepot.json("replicate", first.host)
    with open_catalog(read_settings(home=first.home)) as catalog:
        catalog.distributions.delete("stable/app", actor="test")
    kept = entrepot.json("replicate", first.host, "--keep-gone")
    assert set(actions(kept).values()) == {"unchanged"}
    assert actions(entrepot.json("replicate", first.host))["stable/app"] == "removed"
    assert [one["path"] for one in entrepot.json("distribution", "list")] == ["team/app"]

    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        push_image(catalog, "stable/app", "mine", "mine")
        catalog.distributions.put(Distribution("stable/app", "stable/app", NOW, NOW), actor="test")
    with open_catalog(read_settings(home=first.home)) as catalog:
        catalog.distributions.put(Distribution("stable/app", "team/app", NOW, NOW, 1), actor="test")
    refused = entrepot("replicate", first.host)
    assert refused.returncode == 1
    assert "1 path(s) here serve something else than replicas of" in refused.stderr


def test_one_that_fails_leaves_all_as_they_were(entrepot: Entrepot) -> None:
    stores = {}
    for name in ("team/a", "team/b"):
        stores[name] = MemoryStore()
        stores[name].put_tag("v1", pack_image(stores[name], [{"file": name}]).digest)
    with Upstream(stores) as upstream:
        upstream.faults.append(catalog_of(*stores))
        assert entrepot.json("replicate", upstream.host)["kind"] == "catalog"
        before = entrepot.json("distribution", "list")
        for name, store in stores.items():
            store.put_tag("v2", pack_image(store, [{"file": f"{name} two"}]).digest)
        upstream.fail(404, only=f"team/b/manifests/{stores['team/b'].tagged['v2']}")
        failed = entrepot("replicate", upstream.host)
        assert failed.returncode == 1
        assert "1 path could not be synced, so everything is served as it was:\n  team/b: " in failed.stderr
        assert entrepot.json("distribution", "list") == before
        upstream.faults[1:] = []
        assert actions(entrepot.json("replicate", upstream.host)) == dict.fromkeys(stores, "updated")
        assert [one["version"] for one in entrepot.json("distribution", "list")] == [2, 2]


def test_what_an_entrepot_serves_unchanged_costs_its_list_alone(entrepot: Entrepot) -> None:
    paths = [f"many/path-{number}" for number in range(100)]
    contents = {path: f"content of {path}" for path in paths}
    store = MemoryStore()
    store.put_tag("v1", pack_image(store, [{"file": "new"}]).digest)
    with Upstream({"many/path-7": store}) as upstream:

        def served(seen: Seen, _good: Reply) -> Reply | None:
            if seen.path != "/api/v1/distributions":
                return None
            listed = [{"path": path, "content": content} for path, content in contents.items()]
            return Reply(200, json.dumps({"distributions": listed}).encode())

        upstream.faults.append(served)
        with open_catalog(read_settings(home=entrepot.home)) as catalog:
            image = stage_image(catalog, paths[0], "held")
            for path in paths:
                commit_to(catalog, path, AddManifest(image), donors=(paths[0],))
            wanted = [(Served(path, content=content), 1) for path, content in contents.items()]
            catalog.distributions.switch(switch({}, wanted, upstream.host, NOW), [], actor="test")
        again = entrepot.json("replicate", upstream.host)
        assert set(actions(again).values()) == {"unchanged"}
        assert [one.path for one in upstream.seen] == ["/v2/", "/api/v1/distributions"]

        upstream.forget()
        contents["many/path-7"] = "another"
        notes = {one["path"]: one["note"] for one in entrepot.json("replicate", upstream.host)["distributions"]}
        assert [path for path, note in notes.items() if note != UNCHANGED] == ["many/path-7"]
        assert {one.name for one in upstream.seen} == {"", "many/path-7"}
        upstream.forget()
        entrepot("replicate", upstream.host, "--policy", "on_demand", "--include", "many/path-8")
        assert ("GET", "tags") in upstream.counts  # another policy is another question


def catalog_of(*names: str):  # type: ignore[no-untyped-def]  # a fault of the upstream
    def fault(seen: Seen, _good: Reply) -> Reply | None:
        if seen.path == "/v2/_catalog":
            return Reply(200, json.dumps({"repositories": names}).encode())
        return None

    return fault


@pytest.fixture
def pulp() -> Iterator[Upstream]:
    """A registry with the API of Pulp Container beside it: two pages of distributions, logins by Basic there, tokens at /v2."""
    stores = {}
    for name in ("pulp/one", "pulp/two"):
        stores[name] = MemoryStore()
        stores[name].put_tag("v1", pack_image(stores[name], [{"file": name}]).digest)
    with Upstream(stores) as upstream:
        upstream.login, upstream.bearer = ("reader", "reader-secret"), True
        api = "/pulp/api/v3/distributions/container/container/"

        def entry(base_path: str, **fields: object) -> dict[str, object]:
            return {
                "pulp_href": f"{api}{base_path.replace('/', '-')}/",
                "pulp_labels": {},
                "name": base_path,
                "base_path": base_path,
                "hidden": False,
                "repository": "/pulp/api/v3/repositories/container/container-push/1/",
                "repository_version": None,
                "registry_path": f"pulp.example/{base_path}",
                "namespace": None,
                "private": False,
                "description": None,
                **fields,
            }

        def answer(seen: Seen, _good: Reply) -> Reply | None:
            if seen.path != api:
                return None
            if not seen.headers.get("authorization", "").startswith("Basic "):
                return Reply(401, b'{"detail": "Authentication credentials were not provided."}')
            second = "offset=1" in seen.query
            following = None if second else f"http://pulp.example{api}?limit=1&offset=1"
            results = [entry("pulp/two", private=True, description="second"), entry("pulp/empty", repository=None)]
            if "q=pulp_label_select%3D%22prod%22" in seen.query:
                following, second = None, True
                results = [entry("pulp/one", pulp_labels={"prod": None})]
            page = {
                "count": 1 if "q=" in seen.query else 3,
                "next": following,
                "previous": None,
                "results": results if second else [entry("pulp/one")],
            }
            return Reply(200, json.dumps(page).encode(), {"content-type": "application/json"})

        upstream.faults.append(answer)
        yield upstream


def test_a_pulp(pulp: Upstream, entrepot: Entrepot) -> None:
    refused = entrepot("replicate", pulp.host)
    assert refused.returncode == 1
    assert "wants a login" in refused.stderr
    entrepot.env["ENTREPOT_LOGINS"] = json.dumps({pulp.host: "reader:reader-secret"})
    result = entrepot.json("replicate", pulp.host)
    assert (result["kind"], actions(result)) == ("pulp", {"pulp/one": "added", "pulp/two": "added"})
    narrowed = ("replicate", pulp.host, "--pulp-filter", 'pulp_label_select="prod"')
    assert entrepot(*narrowed).returncode == 2  # an Entrepôt would not know it
    assert actions(entrepot.json(*narrowed, "--kind", "pulp")) == {"pulp/one": "updated", "pulp/two": "removed"}
    assert entrepot.json("distribution", "show", "pulp/one")["labels"] == {"prod": ""}
    assert actions(entrepot.json("replicate", pulp.host)) == {"pulp/one": "updated", "pulp/two": "added"}
    shown = entrepot.json("distribution", "show", "pulp/two")
    assert (shown["private"], shown["description"], shown["version"]) == (True, "second", 1)
    assert set(actions(entrepot.json("replicate", pulp.host)).values()) == {"unchanged"}


def test_a_plain_registry(docker_registry: DockerRegistryFactory, entrepot: Entrepot) -> None:
    registry = docker_registry()
    empty = entrepot.json("replicate", registry.host)
    assert (empty["kind"], empty["distributions"]) == ("catalog", [])
    index = upload(registry, "team/app", "v1", "one")
    assert actions(entrepot.json("replicate", registry.host, "--policy", "on_demand")) == {"team/app": "added"}
    assert [one["digest"] for one in entrepot.json("tag", "list", "team/app")["tags"]] == [index.digest]


def test_filters_choose_tags_of_each_path_and_a_path_without_any_is_left_out(entrepot: Entrepot) -> None:
    stores = {}
    for name, stage in (("team/a", "prod"), ("team/b", "test")):
        stores[name] = MemoryStore()
        for tag in ("v1", "v2"):
            image = pack_image(stores[name], [{"file": name + tag}], config={"Labels": {"stage": stage}})
            stores[name].put_tag(tag, image.digest)
    with Upstream(stores) as upstream:
        upstream.faults.append(catalog_of(*stores))
        chosen = ("replicate", upstream.host, "--tags-label", "stage=prod", "--tags-exclude", "v2")
        result = entrepot.json(*chosen)
        assert actions(result) == {"team/a": "added", "team/b": "left out"}
        (left_out,) = [one for one in result["distributions"] if one["path"] == "team/b"]
        assert "v1: does not fulfil label stage=prod" in left_out["note"]
        assert [row["tag"] for row in entrepot.json("tag", "list", "team/a")["tags"]] == ["v1"]
        assert [one["path"] for one in entrepot.json("distribution", "list")] == ["team/a"]
        narrowed = entrepot.json("replicate", upstream.host, "--tags-include", "v2", "--newest", "1", "--signed")
        assert set(actions(narrowed).values()) == {"left out"}
        assert [row["tag"] for row in entrepot.json("tag", "list", "team/a")["tags"]] == ["v1"]
        assert actions(entrepot.json(*chosen)) == {"team/a": "unchanged", "team/b": "left out"}
