"""Promoting by a button: the plan of the command, a real Prefect server that runs the flow, and what becomes of it."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from flows.orchestration.deployments import register_deployments
from flows.promote.flow import prepare_promotion
from flows.promote.request import PromoteRequest
from flows.runs.operation import PlanChanged, perform
from oci.memory import MemoryStore
from tests.api.conftest import serve
from tests.cli.commands import Entrepot, PrefectServer
from tests.pages.conftest import Shown
from tests.pages.content import Filler, add_account, make_image
from tests.pages.forms import Confirmation, open_plan
from tests.servers import Children, wait_until

STAGING, PROD = "team/staging", "team/prod"
NOW = datetime.now(UTC)


def fill(catalog: Catalog) -> None:
    """Two repositories: staging has v1 and v2, prod has another v1."""
    filler, store = Filler(catalog, NOW), MemoryStore()
    filler.commit(STAGING, store, {tag: make_image(store, f"staging {tag}") for tag in ("v1", "v2")})
    filler.commit(PROD, store, {"v1": make_image(store, "prod v1")})
    filler.commit("private/vault", store, {"v1": make_image(store, "vault")}, private=True)
    add_account(catalog, "bob", "pull:team/**")
    add_account(catalog, "dave", "pull,push:team/**")
    add_account(catalog, "erin", "pull:team/** team/staging")
    add_account(catalog, "olga", "admin:team/**")


@dataclass
class Counting:
    """A place of Prefect's API that fails; it counts what it is asked."""

    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        counting = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                counting.asked.append(self.path)
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self) -> None:  # http.server's name
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def starts(self) -> int:
        """How often a start of a flow was tried: the deployment is looked up first."""
        return sum("/deployments/name/promote-content/" in path for path in self.asked)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/api"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def counting() -> Iterator[Counting]:
    with contextlib.closing(Counting()) as found:
        yield found


@pytest.fixture(scope="module")
def site(counting: Counting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A registry whose requests to Prefect are counted, and fail."""
    home = tmp_path_factory.mktemp("promotion") / "entrepot"
    with serve(home, prefect_api_url=counting.url) as api, contextlib.closing(Shown(api, {})) as found:
        fill(api.catalog)
        yield found


@pytest.fixture(scope="module")
def running(session_prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A registry whose flows are those of a real Prefect server."""
    settings = {PREFECT_API_URL: session_prefect.api_url}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        register_deployments(client)
    home = tmp_path_factory.mktemp("running") / "entrepot"
    with serve(home, prefect_api_url=session_prefect.api_url) as api, contextlib.closing(Shown(api, {})) as found:
        fill(api.catalog)
        yield found


def started(prefect: PrefectServer) -> list[dict[str, Any]]:
    """The runs of promotions that buttons have started."""
    wanted = {"flows": {"name": {"any_": ["promote-content"]}}, "flow_runs": {"tags": {"any_": ["by:dave", "by:olga"]}}}
    return prefect.filter("flow_runs", **wanted)


def test_the_plan_is_that_of_the_command(site: Shown) -> None:
    client, catalog = site.logged_in("dave"), site.api.catalog
    model = client.get(f"/promote.json/{STAGING}?tag=v1&tag=v2&target={PROD}").json()
    request = PromoteRequest(source=STAGING, repository=PROD, version=1, tags=("v1", "v2"))
    operation = prepare_promotion(catalog, request, now=NOW)
    told = perform(catalog, operation, actor="test", run_id="x", now=NOW, dry_run=True)
    assert (model["base"], model["plan"], model["source_version"]) == (1, told.plan, 1)
    assert {item.tag: item.action for item in told.items} == {"v1": "moved", "v2": "added"}
    assert (model["added"], model["moved"], model["removed"]) == (1, 1, 0)
    assert model["command"] == f"entrepot promote {STAGING} {PROD} --tag v1 --tag v2 --version 1"
    assert model["targets"] == [PROD]
    without = client.get(f"/promote.json/{STAGING}?tag=v1").json()
    assert (without["target"], without["plan"], without["changes"]) == ("", "", [])


def test_a_button_starts_the_flow_once_in_the_visitors_name(running: Shown, session_prefect: PrefectServer) -> None:
    site = running
    client, before = site.logged_in("dave"), len(started(session_prefect))
    form = open_plan(client, f"/promote/{STAGING}?tag=v2&target={PROD}")
    answers = [form.send(client) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    runs = started(session_prefect)
    assert len(runs) == before + 1
    run_id = answers[0].headers["location"].rpartition("/")[2]
    run = session_prefect.flow_run(run_id)
    plan = client.get(f"/promote.json/{STAGING}?tag=v2&target={PROD}").json()["plan"]
    not_after = datetime.fromisoformat(run["parameters"].pop("not_after"))
    assert timedelta(0) < not_after - datetime.now(UTC) <= timedelta(minutes=10)
    assert run["parameters"] == {
        "source": STAGING, "repository": PROD, "version": 1, "tags": ["v2"], "expect": plan,
    }  # fmt: skip
    assert "by:dave" in run["tags"]
    site.api.catalog.events.flush(lambda: NOW)
    event = site.api.catalog.events.latest(action="promote", name=PROD)[0]
    assert (event.actor, event.detail["flow_run_id"]) == ("dave", run_id)
    page = client.get(f"/flow-run/{run_id}")
    assert page.status_code == 200
    assert 'hx-trigger="every 2s"' in page.text
    model = client.get(f"/flow-run.json/{run_id}").json()
    assert (model["state"], model["is_over"], model["repository"]) == ("Scheduled", False, PROD)
    assert site.administrator().get(f"/flow-run/{run_id}").status_code == 200
    for other in (site.logged_in("bob"), site.logged_in("olga"), site.visitor()):
        assert other.get(f"/flow-run/{run_id}").status_code == 404


def test_the_flow_does_that_plan_or_nothing(site: Shown) -> None:
    catalog = site.api.catalog
    client = site.logged_in("dave")
    plan = client.get(f"/promote.json/{STAGING}?tag=v1&target={PROD}").json()["plan"]
    request = PromoteRequest(source=STAGING, repository=PROD, version=1, tags=("v1",), expect=plan)
    store = MemoryStore()
    Filler(catalog, datetime.now(UTC)).commit(PROD, store, {"late": make_image(store, "late")}, actor="else")
    operation = prepare_promotion(catalog, request, now=NOW)
    before = catalog.snapshots.get(PROD).version
    with pytest.raises(PlanChanged):
        perform(catalog, operation, actor="test", run_id="y", now=NOW, expected=request.expect)
    assert catalog.snapshots.get(PROD).version == before


def test_a_plan_that_somebody_has_outrun_starts_nothing(site: Shown, counting: Counting) -> None:
    client, before = site.logged_in("dave"), counting.starts
    form = open_plan(client, f"/promote/{STAGING}?tag=v1&target={PROD}")
    store = MemoryStore()
    Filler(site.api.catalog, datetime.now(UTC)).commit(PROD, store, {"newer": make_image(store, "newer")}, actor="else")
    answer = form.send(client)
    assert answer.status_code == 409
    assert "nothing was done" in answer.text
    assert Confirmation(answer).has_button
    assert counting.starts == before


@pytest.mark.parametrize(
    ("account", "source", "target", "status"),
    [
        ("bob", STAGING, PROD, 403),
        ("erin", STAGING, PROD, 403),
        ("dave", STAGING, "team/new", 403),
        ("dave", STAGING, "other/prod", 403),
        ("dave", STAGING, "private/vault", 403),
        ("dave", "private/vault", PROD, 404),
        ("dave", STAGING, STAGING, 400),
        ("dave", STAGING, "Team//Prod", 400),
        ("dave", STAGING, "", 400),
    ],
)
def test_who_may_not_push_starts_nothing(
    site: Shown, counting: Counting, account: str, source: str, target: str, status: int
) -> None:
    client, before = site.logged_in(account), counting.starts
    token = client.get("/").text.partition('name="form_token" value="')[2][:64]
    fields = {"tag": "v1", "target": target, "plan": "x", "nonce": "n", "form_token": token}
    assert client.post(f"/promote/{source}", data=fields).status_code == status
    assert counting.starts == before
    page = client.get(f"/promote/{source}", params={"tag": "v1", "target": target})
    assert page.status_code in {200, 404}
    assert "Promote to" not in page.text


def test_a_new_target_takes_the_right_to_administer_it(site: Shown) -> None:
    model = site.logged_in("olga").get(f"/promote.json/{STAGING}?tag=v1&target=team/new").json()
    assert (model["base"], model["added"], model["refusal"]) == (0, 1, "")
    refused = site.logged_in("dave").get(f"/promote.json/{STAGING}?tag=v1&target=team/new").json()
    assert refused["plan"] == ""
    assert "may not admin team/new" in refused["refusal"]


def test_paths_and_immutable_tags_are_no_targets(site: Shown) -> None:
    catalog, client = site.api.catalog, site.logged_in("olga")
    catalog.distributions.put(Distribution("team/alias", STAGING, NOW, NOW), actor="admin")
    catalog.distributions.put(
        Distribution("team/mirror", "", NOW, NOW, remote="https://registry.example"), actor="admin"
    )
    for target, reason in (("team/alias", "another repository"), ("team/mirror", "cache"), ("team/mirror/x", "cache")):
        assert reason in client.get(f"/promote.json/{STAGING}?tag=v1&target={target}").json()["refusal"]
    frozen = "team/frozen"
    store = MemoryStore()
    Filler(catalog, NOW).commit(frozen, store, {"v1": make_image(store, "frozen")})
    catalog.distributions.put(Distribution(frozen, frozen, NOW, NOW, immutable_tags=("v*",)), actor="admin")
    model = client.get(f"/promote.json/{STAGING}?tag=v1&tag=v2&target={frozen}").json()
    assert [(one["tag"], one["is_allowed"]) for one in model["verdicts"]] == [("v1", False), ("v2", True)]
    assert "the gate immutable refuses v1" in model["refusal"]


def test_without_prefect_nothing_is_started_and_the_page_says_so(site: Shown, counting: Counting) -> None:
    client, version = site.logged_in("dave"), site.api.catalog.snapshots.get(PROD).version
    before = counting.starts
    form = open_plan(client, f"/promote/{STAGING}?tag=v1&target={PROD}")
    answer = form.send(client)
    assert answer.status_code == 503
    assert "Prefect does not answer; nothing was started" in answer.text
    assert counting.starts == before + 1
    assert Confirmation(answer).has_button
    page = client.get("/flow-run/0a6c4f9e-6a44-4d7c-9f0c-0f7a52c9a1d2")
    assert page.status_code == 503
    assert "/api/flow_runs/0a6c4f9e-6a44-4d7c-9f0c-0f7a52c9a1d2" in counting.asked
    assert site.api.catalog.snapshots.get(PROD).version == version


def test_prefect_is_asked_for_nobody_without_an_account(site: Shown, counting: Counting) -> None:
    run_id = "5b1d7c9e-6a44-4d7c-9f0c-0f7a52c9a1d2"
    for path in (f"/flow-run/{run_id}", f"/flow-run.json/{run_id}"):
        assert site.visitor().get(path).status_code == 404
    assert not any(run_id in path for path in counting.asked)


@pytest.mark.parametrize("run_id", ["0a6c4f9e-6a44-4d7c-9f0c-0f7a52c9a1d2", "x", "..%2Fdeployments"])
def test_a_run_that_is_not_there_is_as_one_of_others(running: Shown, run_id: str) -> None:
    answer = running.administrator().get(f"/flow-run/{run_id}")
    assert answer.status_code in {400, 404}


@pytest.mark.slow
def test_a_worker_runs_what_a_button_has_started(
    running: Shown, session_prefect: PrefectServer, children: Children
) -> None:
    catalog, client = running.api.catalog, running.logged_in("olga")
    env = {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url}
    worker = Entrepot(catalog.settings.root, children, env).start("worker")
    answer = open_plan(client, f"/promote/{STAGING}?tag=v1&target=team/released").send(client)
    path = answer.headers["location"]

    def look() -> httpx.Response:
        return client.get(path.replace("/flow-run/", "/flow-run.json/"))

    wait_until(lambda: bool(look().json()["is_over"]), 120, "the worker has run it")
    model = look().json()
    assert (model["state"], model["has_failed"]) == ("Completed", False), worker.tail()
    assert "version 1" in model["result"]
    row = catalog.history.version("team/released", 1)
    assert (row.operation, row.flow_run_id) == ("promote", path.rpartition("/")[2])
    assert catalog.snapshots.get("team/released").tags == {"v1": catalog.snapshots.get(STAGING, 1).tags["v1"]}


def test_a_path_that_takes_no_push_takes_no_promotion(site: Shown, counting: Counting) -> None:
    client, catalog = site.logged_in("olga"), site.api.catalog
    filler, store = Filler(catalog, NOW), MemoryStore()
    for name in ("team/fixed", "team/unserved"):
        filler.commit(name, store, {"v1": make_image(store, name)})
    catalog.distributions.put(Distribution("team/fixed", "team/fixed", NOW, NOW, version=1), actor="test")
    catalog.distributions.delete("team/unserved", actor="test")
    before = counting.starts
    for target, said in (("team/fixed", "serves version 1"), ("team/unserved", "no path serves the repository")):
        page = client.get(f"/promote.json/{STAGING}?tag=v2&target={target}").json()
        assert said in page["refusal"]
        assert page["plan"] == ""
    assert counting.starts == before
