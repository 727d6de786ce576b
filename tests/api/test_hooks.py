"""Webhooks in: who may, what becomes of them, and that Prefect gets each run once, however long it is away."""

import base64
import hashlib
import hmac
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, codes, serve
from tests.receivers import FakePrefect, fake_prefect, receive
from tests.servers import EntrepotServer, free_port, get, wait_until

A = f"sha256:{'a' * 64}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
QUICK = {"upstream": "registry.example", "quiet_seconds": 0}


def envelope(*tags: str, name: str = "team/app", first: int = 0) -> dict[str, Any]:
    """What docker-registry would send of tags that were pushed."""
    return {
        "events": [
            {
                "id": f"{name}-{tag}-{first}", "action": "push",
                "target": {"mediaType": MANIFEST, "digest": A, "repository": name, "tag": tag},
            }
            for tag in tags
        ]
    }  # fmt: skip


@pytest.fixture(scope="module")
def prefect() -> Iterator[FakePrefect]:
    with fake_prefect() as running:
        yield running


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory, prefect: FakePrefect) -> Iterator[Api]:
    """A registry whose Prefect is the fake one."""
    with serve(tmp_path_factory.mktemp("hooked") / "entrepot", prefect_api_url=prefect.api_url) as api:
        yield api


@contextmanager
def hook(api: Api, **fields: Any) -> Iterator[dict[str, Any]]:
    """A hook for one test."""
    made = api.admin.post("/api/v1/hooks", json={"name": "up", **QUICK, **fields})
    assert made.status_code == 201, made.text
    try:
        yield made.json()
    finally:
        assert api.admin.delete(f"/api/v1/hooks/{made.json()['name']}").status_code == 204


def bearer(made: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {made['secret']}"}


@pytest.fixture
def runs_of(prefect: FakePrefect) -> Callable[[], list[dict[str, Any]]]:
    before = set(prefect.runs)
    return lambda: [run for key, run in prefect.runs.items() if key not in before]


def test_a_push_starts_a_run_of_its_tags(
    hooked: Api, runs_of: Callable[[], list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with hook(hooked, target="mirror", request={"policy": "on_demand"}) as made:
        answer = hooked.anybody.post("/api/v1/hooks/up", json=envelope("v1", "v2"), headers=bearer(made))
        assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "duplicates": 0, "ignored": 0})
        wait_until(lambda: len(runs_of()) == 1, 10, "the run is started")
        again = hooked.anybody.post("/api/v1/hooks/up", json=envelope("v1", "v2"), headers=bearer(made))
        assert again.json() == {"accepted": 0, "duplicates": 2, "ignored": 0}
        (run,) = runs_of()
        assert run["tags"] == ["hook:up"]
        assert run["parameters"] == {
            "policy": "on_demand", "remote": "registry.example/team/app", "repository": "mirror/team/app",
            "include": ["v1", "v2"],
        }  # fmt: skip

        def shown() -> tuple[Any, ...]:
            found = hooked.admin.get("/api/v1/hooks/up").json()
            return found["waiting_events"], found["waiting_runs"], found["secret"]

        wait_until(lambda: shown() == (0, 0, None), 10, "nothing waits any more")

        def events() -> Any:
            return hooked.admin.get("/api/v1/events", params={"actor": "hook:up"}).json()

        wait_until(lambda: bool(events()), 10, "the start is in the audit trail")
        assert events()[0]["detail"]["flow_run_id"].startswith("run-")
        secret = made["secret"]
        assert secret not in caplog.text
        assert secret not in hooked.event_records()
        assert secret not in json.dumps(hooked.admin.get("/api/v1/events", params={"n": 1000}).json())


def test_pushes_within_the_quiet_time_are_one_run(hooked: Api, runs_of: Callable[[], list[dict[str, Any]]]) -> None:
    with hook(hooked, quiet_seconds=1.0) as made:
        for number in range(5):
            body = envelope(f"v{number}", name="team/burst")
            assert hooked.anybody.post("/api/v1/hooks/up", json=body, headers=bearer(made)).status_code == 202
        wait_until(lambda: bool(runs_of()), 10, "the run is started")
        (run,) = runs_of()
        assert run["parameters"]["include"] == ["v0", "v1", "v2", "v3", "v4"]


@pytest.mark.parametrize(
    ("proof", "headers", "query"),
    [
        ("token", {"Authorization": "Bearer {}"}, ""),
        ("token", {"Authorization": "{}"}, ""),
        ("token", {"Authorization": "Basic {basic}"}, ""),
        ("token", {"X-Hook-Token": "{}"}, ""),
        ("url", {}, "?token={}"),
        ("hmac", {"X-Hub-Signature-256": "sha256={hmac}"}, ""),
    ],
)
def test_each_proof_of_the_secret_is_taken(hooked: Api, proof: str, headers: dict[str, str], query: str) -> None:
    raw = json.dumps(envelope()).encode()
    with hook(hooked, proof=proof) as made:

        def ask(secret: str) -> int:
            words = {
                "basic": base64.b64encode(f"any:{secret}".encode()).decode(),
                "hmac": hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest(),
            }
            filled = {key: value.format(secret, **words) for key, value in headers.items()}
            return hooked.anybody.post(
                f"/api/v1/hooks/up{query.format(secret)}", content=raw, headers=filled
            ).status_code

        assert ask(made["secret"]) == 202
        assert ask(made["secret"] + "x") == 404
        assert ask("x") == 404


def test_a_wrong_secret_cannot_be_told_from_no_hook(hooked: Api) -> None:
    raw = json.dumps(envelope("v1"))
    for proof in ("token", "hmac", "url"):
        with hook(hooked, proof=proof) as made:
            kept = json.loads(hooked.event_records())["hooks"]["up"]["secret"]
            wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer x"}, {"X-Hub-Signature-256": "sha256=00"}]
            wrong.append({"Authorization": "Bearer " + (made["secret"] if proof == "hmac" else kept)})
            for headers in wrong:
                here = hooked.anybody.post("/api/v1/hooks/up", content=raw, headers=headers)
                nowhere = hooked.anybody.post("/api/v1/hooks/nothing", content=raw, headers=headers)
                assert (here.status_code, here.content) == (nowhere.status_code, nowhere.content)
                assert (here.status_code, codes(here)) == (404, ["UNKNOWN"])
            if proof != "url":
                assert hooked.anybody.post(f"/api/v1/hooks/up?token={made['secret']}", content=raw).status_code == 404

    def refused() -> Any:
        return hooked.admin.get("/api/v1/events", params={"action": "hook"}).json()

    wait_until(
        lambda: any(one["name"] == "up" and one["outcome"] == "refused" for one in refused()), 10, "it is recorded"
    )


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"a": 1}', b"[" * 100_000])
def test_a_body_of_no_known_form_is_400(hooked: Api, raw: bytes) -> None:
    with hook(hooked) as made:
        answer = hooked.anybody.post("/api/v1/hooks/up", content=raw, headers=bearer(made))
        assert (answer.status_code, codes(answer)) == (400, ["UNKNOWN"])


def test_a_body_that_is_too_long_is_413_known_hook_or_not(hooked: Api) -> None:
    """For those who have the secret or sign; who shows none has nothing read."""
    content = b" " * (4 * 1024 * 1024 + 1)
    with hook(hooked) as made:
        answer = hooked.anybody.post("/api/v1/hooks/up", content=content, headers=bearer(made))
        assert (answer.status_code, codes(answer)) == (413, ["SIZE_INVALID"])
        for name in ("up", "nothing"):
            signed = {"X-Hub-Signature-256": f"sha256={'0' * 64}"}
            answer = hooked.anybody.post(f"/api/v1/hooks/{name}", content=content, headers=signed)
            assert (answer.status_code, codes(answer)) == (413, ["SIZE_INVALID"])
            answer = hooked.anybody.post(f"/api/v1/hooks/{name}", content=content)
            assert answer.status_code == 404


@pytest.mark.slow
def test_too_many_requests_are_429(hooked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_api.webhooks.context._RATE", 0.2)
    with serve(hooked.catalog.settings.root.parent / "limited") as limited:
        statuses = [limited.anybody.post("/api/v1/hooks/nothing", json={}).status_code for _ in range(3)]
        assert statuses == [404, 404, 429]


def test_only_administrators_manage_hooks(hooked: Api) -> None:
    for method, path in (("GET", "hooks"), ("GET", "hooks/up"), ("DELETE", "hooks/up")):
        assert hooked.anybody.request(method, f"/api/v1/{path}").status_code == 401
    assert hooked.anybody.post("/api/v1/hooks", json={"name": "x", **QUICK}).status_code == 401
    with hook(hooked):
        assert hooked.admin.post("/api/v1/hooks", json={"name": "up", **QUICK}).status_code == 409
        assert [one["name"] for one in hooked.admin.get("/api/v1/hooks").json()] == ["up"]
    refused = hooked.admin.post("/api/v1/hooks", json={"name": "up", **QUICK, "request": {"mode": "mirror"}})
    assert (refused.status_code, codes(refused)) == (400, ["UNKNOWN"])
    assert "needs whole" in refused.text
    assert hooked.admin.get("/api/v1/hooks/up").status_code == 404
    actions = {one["action"] for one in hooked.admin.get("/api/v1/events", params={"name": "up"}).json()}
    assert {"create-hook", "delete-hook"} <= actions


def test_a_run_that_prefect_refuses_is_told_and_holds_up_nothing(
    hooked: Api, prefect: FakePrefect, runs_of: Callable[[], list[dict[str, Any]]]
) -> None:
    with hook(hooked) as made:
        prefect.status = 422
        try:
            hooked.anybody.post("/api/v1/hooks/up", json=envelope("v1", name="team/refused"), headers=bearer(made))

            def refused() -> Any:
                return [
                    one
                    for one in hooked.admin.get("/api/v1/events", params={"actor": "hook:up"}).json()
                    if one["outcome"] == "refused"
                ]

            wait_until(lambda: bool(refused()), 10, "the refusal is in the audit trail")
            assert "422" in refused()[0]["reason"]
        finally:
            prefect.status = 201
        hooked.anybody.post("/api/v1/hooks/up", json=envelope("v1", name="team/taken"), headers=bearer(made))
        wait_until(lambda: len(runs_of()) == 1, 10, "the next is started")


@pytest.mark.slow
def test_nothing_is_lost_while_prefect_is_away_and_the_registry_is_killed(
    tmp_path: Path, entrepot_server: Callable[..., EntrepotServer]
) -> None:
    """Prefect answers 503, then nothing, meanwhile the registry dies: then each run is started once."""
    port = free_port()
    env = {"ENTREPOT_PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    server = entrepot_server(env=env, arguments=["--access-log"])
    with httpx.Client(base_url=server.url, auth=server.auth, trust_env=False) as client:
        made = client.post("/api/v1/hooks", json={"name": "up", **QUICK, "proof": "url"}).json()
        url = f"{server.url}/api/v1/hooks/up?token={made['secret']}"
        assert httpx.post(url, json=envelope("v1"), trust_env=False).status_code == 202
        wait_until(lambda: "could not be started" in server.child.output(), 20, "a start has failed")
        assert httpx.post(url, json=envelope("v2"), trust_env=False).status_code == 202
    server.child.kill()
    assert made["secret"] not in server.child.output()
    assert "POST /api/v1/hooks/up" in server.child.output()
    with fake_prefect() as prefect:
        moved = server.home / "up.json"
        assert not moved.exists()
        server.child.env = {"ENTREPOT_PREFECT_API_URL": prefect.api_url, "PREFECT_API_KEY": "pnu_1"}
        server.restart()
        runs = prefect.await_runs(2)
        assert sorted(run["parameters"]["include"] for run in runs) == [["v1"], ["v2"]]
        assert {one.headers["authorization"] for one in prefect.receiver.received} == {"Bearer pnu_1"}
    assert get(f"{server.url}/readyz").status_code == 200
    assert not re.search(r"pnu_1", server.child.output())


def test_what_is_no_prefect_keeps_the_run(tmp_path: Path) -> None:
    with (
        receive(lambda _: (200, {}, b"<html>")) as other,
        serve(tmp_path / "entrepot", prefect_api_url=f"{other.url}/api") as api,
        hook(api) as made,
    ):
        api.anybody.post("/api/v1/hooks/up", json=envelope("v1"), headers=bearer(made))
        other.await_count(2)
        assert api.admin.get("/api/v1/hooks/up").json()["waiting_runs"] == 1
