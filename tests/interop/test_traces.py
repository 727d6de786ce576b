"""Traces from a client over the registry or a flow to the upstream, as a real collector gets them; and nothing when off."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, PrefectServer, start_prefect
from tests.collector import Collector
from tests.conftest import EntrepotFactory
from tests.forward_proxy import forward_proxy
from tests.replicas.pushes import push_small_image
from tests.servers import ROOT, Children, wait_until
from tests.upstream import Upstream

NAME = "team/app"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLAIM = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    store = MemoryStore(NAME)
    store.put_tag("v1", pack_image(store, [{"file": "v1"}]).digest)
    with Upstream({NAME: store}) as served:
        yield served


def test_a_push_is_a_request_with_its_commit_and_says_nothing_secret(
    entrepot_server: EntrepotFactory, collector: Collector
) -> None:
    server = entrepot_server(env={**collector.environment, "ENTREPOT_ACCESS_LOG": "json"})
    with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
        push_small_image(client, NAME, "v1", "here")
        client.get("/v2/_catalog?n=5&last=quiet-name")
        client.get("/token?service=x&scope=repository:quiet-name:pull")
        client.get("/no-such-page")
    put = collector.wait_for("PUT /v2/{name}/manifests/{reference}")
    commit = collector.wait_for("commit", entrepot__repository=NAME)
    assert (put.service, put.kind, put.parent_id) == ("entrepot-registry", 2, "")
    assert (put.attributes["http.response.status_code"], put.is_error) == (201, False)
    assert (commit.trace_id, commit.parent_id) == (put.trace_id, put.span_id)
    assert commit.attributes["entrepot.version"] == 1
    collector.wait_for("GET /token")
    sent = b"".join(collector.bodies)
    for secret in (server.password.encode(), b"quiet-name", b"no-such-page", b"a-secret", b"Basic"):
        assert secret not in sent
    assert collector.headers[0]["x-tenant"] == "a-secret"
    lines = [json.loads(line) for line in server.child.output().splitlines() if '"route"' in line]
    (line,) = [one for one in lines if one["method"] == "PUT" and one["path"].endswith("/manifests/v1")]
    assert line["trace_id"] == put.trace_id


def test_a_client_s_trace_is_joined_behind_a_trusted_proxy_and_linked_else(
    entrepot_server: EntrepotFactory, collector: Collector
) -> None:
    trusting = entrepot_server(env={**collector.environment, "ENTREPOT_TRUSTED_PROXIES": "127.0.0.1"})
    httpx.get(f"{trusting.url}/v2/", headers=CLAIM, trust_env=False)
    joined = collector.wait_for("GET /v2/")
    assert (joined.trace_id, joined.parent_id, joined.links) == (TRACE, SPAN, ())
    httpx.get(f"{trusting.url}/healthz", headers={"traceparent": "00-zz"}, trust_env=False)
    assert collector.wait_for("GET /healthz").trace_id != TRACE

    other = entrepot_server(env=collector.environment)
    httpx.get(f"{other.url}/v2/_catalog", headers=CLAIM, trust_env=False)
    linked = collector.wait_for("GET /v2/_catalog")
    assert (linked.trace_id == TRACE, linked.parent_id, linked.links) == (False, "", (TRACE,))


def test_a_sync_is_a_flow_with_tasks_requests_and_its_commit(
    tmp_path: Path, children: Children, collector: Collector, upstream: Upstream
) -> None:
    alone = Entrepot(tmp_path / "entrepot", children, collector.environment)
    assert alone("sync", f"{upstream.host}/{NAME}").returncode == 0
    flow = collector.wait_for("flow sync-repository")
    spans = [span for span in collector.spans if span.trace_id == flow.trace_id]
    tasks = {span.span_id: span.name for span in spans if span.parent_id == flow.span_id}
    assert {"task list-tags", "task resolve-tags", "task copy-content", "task commit-version"} <= set(tasks.values())
    (head,) = [span for span in spans if span.name == "HEAD /v2/{name}/manifests/{reference}"]
    assert (tasks[head.parent_id], head.kind) == ("task resolve-tags", 3)
    assert head.attributes["http.response.status_code"] == 200
    (commit,) = [span for span in spans if span.name == "commit"]
    assert tasks[commit.parent_id] == "task commit-version"
    assert {span.service for span in spans} == {"entrepot"}
    claimed = {seen.headers.get("traceparent", "").split("-")[1] for seen in upstream.seen if seen.route == "manifest"}
    assert claimed == {flow.trace_id}


def test_a_trace_goes_on_through_a_proxy(
    tmp_path: Path, children: Children, collector: Collector, upstream: Upstream
) -> None:
    with forward_proxy() as proxy:
        env = {**collector.environment, "HTTP_PROXY": proxy.url, "NO_PROXY": "127.0.0.1"}
        alone = Entrepot(tmp_path / "entrepot", children, env)
        done = alone("sync", f"http://localhost:{upstream.host.rpartition(':')[2]}/{NAME}")
    assert done.returncode == 0, done.stderr
    flow = collector.wait_for("flow sync-repository")
    claimed = {seen.headers.get("traceparent", "").split("-")[1] for seen in upstream.seen if seen.route == "manifest"}
    assert claimed == {flow.trace_id}
    assert any(f"/v2/{NAME}/manifests/" in line for line in proxy.seen)


def test_a_collector_that_is_away_keeps_nobody_from_anything(
    tmp_path: Path, children: Children, upstream: Upstream
) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    done = Entrepot(tmp_path / "entrepot", children, away)("sync", f"{upstream.host}/{NAME}", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["version"] == 1


@pytest.mark.slow
def test_prefect_s_engine_traces_runs_of_workers(
    tmp_path: Path, children: Children, collector: Collector, upstream: Upstream
) -> None:
    prefect: PrefectServer = start_prefect(children, tmp_path)
    env = {"ENTREPOT_PREFECT_API_URL": prefect.api_url, **collector.environment}
    worker = Entrepot(tmp_path / "entrepot", children, env)
    worker.start("worker")

    def deployment() -> dict[str, str]:
        found = prefect.filter("deployments", deployments={"name": {"any_": ["sync-repository"]}})
        return found[0] if found else {}

    wait_until(lambda: bool(deployment()), 60, "the deployment is there")
    prefect.ask(
        "POST",
        f"/deployments/{deployment()['id']}/create_flow_run",
        {"parameters": {"remote": f"{upstream.host}/{NAME}"}},
    )
    wait_until(lambda: any(span.name == "commit" for span in collector.spans), 120, "the run has committed")
    commit = collector.wait_for("commit")
    wait_until(
        lambda: any(span.scope == "prefect" and span.parent_id == "" for span in collector.spans),
        60,
        "the run has ended",
    )
    spans = [span for span in collector.spans if span.trace_id == commit.trace_id]
    assert {"prefect", "entrepot"} <= {span.scope for span in spans}
    assert {span.service for span in spans} == {"entrepot-flows"}


def test_opentelemetry_s_sdk_is_not_imported_while_traces_are_off() -> None:
    code = (
        "import sys; from oci.traces.spans import active; from oci.traces.start import start_tracing; import os;"
        "import registry_api.app, registry_api.server.process, flows.direct.run, oci.remote.transport;"
        "told = [start_tracing(env, 'x') for env in ({}, {'OTEL_SDK_DISABLED': 'true', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'},"
        " {'OTEL_TRACES_EXPORTER': 'none', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'},"
        " {'OTEL_EXPORTER_OTLP_PROTOCOL': 'grpc', 'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'})];"
        "found = ('opentelemetry.sdk', 'opentelemetry.exporter', 'oci.traces.otlp');"
        "print(told, active(), sorted(name for name in sys.modules if name.startswith(found)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    refused = "no traces: OTEL_EXPORTER_OTLP_PROTOCOL=grpc: expected http/protobuf"
    assert done.stdout == f"['', '', '', '{refused}'] None []\n"
