"""`/metrics` and the access log of a real registry."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Api, codes, random_blob, serve, simple_manifest
from tests.conftest import EntrepotFactory
from tests.dashboard import dashboard_queries
from tests.on_postgresql import blob_folder
from tests.servers import wait_until

TOKEN = "scrape-me"  # of this test


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with serve(tmp_path_factory.mktemp("metrics") / "entrepot", metrics_token=TOKEN) as running:
        yield running


def samples(answer: httpx.Response) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the values of a page by name and labels."""
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def scraped(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(api.anybody.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}))


def labelled(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"entrepot_{name}", tuple(sorted(labels.items()))


def test_the_token_opens_the_metrics_and_nothing_else(api: Api) -> None:
    assert api.anybody.get("/metrics").status_code == 401
    assert api.anybody.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert api.admin.get("/metrics").status_code == 200
    shown = {"Authorization": f"Bearer {TOKEN}"}
    assert api.anybody.get("/metrics", headers=shown).status_code == 200
    for path in ("/api/v1/events", "/v2/_catalog"):
        assert api.anybody.get(path, headers=shown).status_code == 401


def test_a_failure_is_told_by_the_client_s_own_id(own_api: Api) -> None:
    raw = simple_manifest(own_api, "team/app")
    assert own_api.put_manifest("team/app", "v1", raw).status_code == 201
    blob = json.loads(raw)["layers"][0]["digest"]
    for file in (blob_folder(own_api.catalog.settings.root) / "sha256").rglob("*"):
        if file.is_file():
            file.unlink()
    answer = own_api.anybody.get(f"/v2/team/app/blobs/{blob}", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 500
    assert "mine-1" in answer.text


def test_an_account_that_is_no_administrator_is_refused(api: Api) -> None:
    made = api.admin.post("/api/v1/users", json={"name": "reader", "password": "a long password"})
    assert made.status_code == 201, made.text
    with api.client(("reader", "a long password")) as reader:
        answer = reader.get("/metrics")
        assert (answer.status_code, codes(answer)) == (403, ["DENIED"])


def test_requests_are_counted_by_route_and_status(api: Api, name: str) -> None:
    before = scraped(api)
    raw = simple_manifest(api, name)
    assert api.put_manifest(name, "v1", raw).status_code == 201
    blob = api.push_blob(name, random_blob(100_000))
    for path in (
        f"/v2/{name}/manifests/v1",
        f"/v2/{name}/blobs/{blob}",
        f"/v2/{name}/manifests/none",
        "/nowhere",
        "/v2/x",
    ):
        api.anybody.get(path)
    api.anybody.head(f"/v2/{name}/manifests/v1")
    api.anybody.request("PROPFIND", f"/v2/{name}/manifests/v1")
    after = scraped(api)

    def grown(metric: str, **labels: str) -> float:
        return after.get(labelled(metric, **labels), 0) - before.get(labelled(metric, **labels), 0)

    manifest, layer = "/v2/{name}/manifests/{reference}", "/v2/{name}/blobs/{digest}"
    assert grown("requests_total", route=manifest, method="GET", status="200") == 1
    assert grown("requests_total", route=manifest, method="GET", status="404") == 1
    assert grown("requests_total", route=manifest, method="HEAD", status="200") == 1
    assert grown("requests_total", route=manifest, method="PUT", status="201") == 1
    assert grown("requests_total", route=manifest, method="other", status="405") == 1
    assert grown("requests_total", route=layer, method="GET", status="200") == 1
    assert grown("requests_total", route="other", method="GET", status="404") == 2
    assert grown("response_bytes_total", route=layer) == 100_000
    assert grown("request_seconds_count", route=layer, method="GET") == 1
    assert grown("request_seconds_bucket", route=layer, method="GET", le="+Inf") == 1
    assert grown("commit_versions_total") == 1
    assert grown("commit_seconds_total") > 0


def test_paths_that_clients_make_up_make_no_series(api: Api) -> None:
    api.anybody.get("/nowhere/0")
    before = len(scraped(api))
    for number in range(20):
        api.anybody.get(f"/nowhere/{number}")
        api.anybody.request("PROPFIND", f"/nowhere/{number}")
    assert len(scraped(api)) <= before + 60  # at most two families of the method `other`


def test_the_catalogue_and_the_disk_are_shown(api: Api) -> None:
    found = scraped(api)
    assert found[labelled("ready")] == 1
    assert found[labelled("database_answers")] == 1
    assert found[labelled("disk_free_bytes")] > 0
    assert found[labelled("snapshot_entries_limit")] == 1_500_000
    assert found[labelled("repositories")] >= 1
    assert ("process_resident_memory_bytes", ()) in found


def test_the_page_has_what_the_dashboard_asks_for(api: Api, name: str) -> None:
    assert api.put_manifest(name, "v1", simple_manifest(api, name)).status_code == 201
    assert api.admin.get(f"/v2/{name}/manifests/v1").status_code == 200
    text = api.admin.get("/metrics").text
    families = list(text_string_to_metric_families(text))
    there = {one.name for family in families for one in family.samples} | set(re.findall(r"# TYPE (\S+)", text))
    queries = " ".join(dashboard_queries())
    assert set(re.findall(r"\b(?:entrepot|process)_[a-z_]+", queries)) - there == set()
    routes = {one.labels["route"] for family in families for one in family.samples if "route" in one.labels}
    assert set(re.findall(r'\broute="([^"]*)"', queries)) <= routes


def test_processes_of_one_socket_show_their_sum(entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server(env={"ENTREPOT_SERVER_PROCESSES": "2", "ENTREPOT_METRICS_PUBLIC": "1"})
    for _ in range(20):
        assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200

    def counted() -> float:
        found = samples(httpx.get(f"{server.url}/metrics", trust_env=False))
        return found.get(labelled("requests_total", route="/healthz", method="GET", status="200"), 0)

    wait_until(lambda: counted() == 20, 20, "both have left their counts")
    folder = server.home / "metrics"
    wait_until(lambda: len(list(folder.glob("*.json"))) == 2, 10, "each has a file")
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("form", ["common", "json"])
def test_each_request_has_its_line(entrepot_server: EntrepotFactory, form: str) -> None:
    server = entrepot_server(env={"ENTREPOT_ACCESS_LOG": form, "ENTREPOT_LOG_FORMAT": "json"})
    with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
        asked = {"User-Agent": 'a "quoted" one', "X-Request-Id": "abc-1"}
        client.get('/v2/team/app/manifests/la"test?secret=hidden', headers=asked)
        client.get("/healthz", headers={"X-Request-Id": "two\tparts"})
    wait_until(lambda: server.child.output().count("/healthz") >= 1, 10, "both are logged")
    lines = [line for line in server.child.output().splitlines() if "la%22test" in line or "/healthz" in line]
    assert "hidden" not in server.child.output()
    assert "parts" not in server.child.output()
    if form == "json":
        first = json.loads(lines[0])
        assert (first["user"], first["method"], first["status"], first["request_id"]) == ("admin", "GET", 404, "abc-1")
        assert first["path"] == "/v2/team/app/manifests/la%22test"
        assert first["route"] == "/v2/{name}/manifests/{reference}"
        assert first["user_agent"] == 'a "quoted" one'
        assert first["bytes"] > 0
    else:
        pattern = (
            r'127\.0\.0\.1 - admin \[[^]]+\] "GET /v2/team/app/manifests/la%22test HTTP/1\.1" 404 \d+ "-" '
            r'"a \\"quoted\\" one" \d+\.\d{6} abc-1'
        )
        assert re.fullmatch(pattern, lines[0])
    assert len(lines) == 2


@pytest.mark.local_blobs("a file stands in the place of the folder")
def test_the_log_of_events_is_json_where_asked_for(tmp_path: Path, entrepot_server: EntrepotFactory) -> None:
    server = entrepot_server(env={"ENTREPOT_LOG_FORMAT": "json"})
    folder = server.home / "blobs"
    moved = folder.rename(tmp_path / "away")
    folder.write_text("no folder")
    try:
        wait_until(lambda: httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 503, 10, "not ready")
    finally:
        folder.unlink()
        moved.rename(folder)
    told = [json.loads(line) for line in server.child.output().splitlines() if line.startswith("{")]
    assert {(one["level"], one["logger"]) for one in told if one["message"].startswith("not ready")} == {
        ("ERROR", "registry_api")
    }
