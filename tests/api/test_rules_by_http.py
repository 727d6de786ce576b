"""Gates and lifecycles by HTTP: what the commands do, for administrators alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog.audit import Event
from catalog.policy.document import make_policy
from tests.api.conftest import Api, serve
from tests.servers import wait_until

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A registry with the policy `release`."""
    home: Path = tmp_path_factory.mktemp("rules") / "entrepot"
    with serve(home, now=lambda: NOW) as api:
        policy = make_policy({"version": 1, "default": "allow"}, where="test")
        api.catalog.policies.set("release", policy, actor="test", now=NOW)
        yield api


def test_setting_a_policy_is_an_event_wherever_it_comes_from(ruled: Api) -> None:
    """The store writes it, so that no way of setting one can forget it; by HTTP it says from where."""
    document = {"version": 1, "default": "allow"}
    stored = ruled.catalog.policies.set("stored", make_policy(document, where="test"), actor="me", now=NOW)
    sent = ruled.admin.put("/api/v1/policies/sent", json=document).json()
    for name, actor, address, digest in (
        ("stored", "me", "", stored.policy.digest),
        ("sent", "admin", "127.0.0.1", sent["digest"]),
    ):
        (event,) = ruled.catalog.events.latest(name=name)
        assert (event.action, event.actor, event.address) == ("set-policy", actor, address)
        assert (event.happened_at, event.detail) == (NOW, {"digest": digest})


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("GET", "/gates"), ("PUT", "/gates"), ("DELETE", "/gates?pattern=a&policy=b"), ("GET", "/gates/report"),
        ("GET", "/lifecycles"), ("PUT", "/lifecycles"), ("DELETE", "/lifecycles?name=a"),
    ],
)  # fmt: skip
def test_nobody_else_may(ruled: Api, method: str, url: str) -> None:
    assert ruled.anybody.request(method, f"/api/v1{url}", json={}).status_code == 401


def test_gates_by_http(ruled: Api) -> None:
    wanted: dict[str, Any] = {"pattern": "team/**", "policy": "release", "at": ["export", "pull"], "mode": "dry-run"}
    made = ruled.admin.put("/api/v1/gates", json=wanted).json()
    assert made == {**wanted, "at": ["pull", "export"], "quarantine": True, "set_by": "admin", "set_at": made["set_at"]}
    assert [rule.at for rule in ruled.catalog.policies.records.gates] == [("pull", "export")]
    replaced = ruled.admin.put("/api/v1/gates", json={**wanted, "mode": "warn"}).json()
    assert ruled.admin.get("/api/v1/gates").json() == [replaced]
    wrong: dict[str, Any]
    for wrong in ({"at": []}, {"at": ["delete"]}, {"mode": "let"}, {"pattern": "A"}, {"policy": "none"}, {"more": 1}):
        answer = ruled.admin.put("/api/v1/gates", json={**wanted, **wrong})
        assert answer.status_code in {400, 404}, wrong
    query = {"pattern": "team/**", "policy": "release"}
    assert [ruled.admin.delete("/api/v1/gates", params=query).status_code for _ in range(2)] == [204, 404]
    assert ruled.admin.get("/api/v1/gates").json() == []

    def is_told() -> bool:
        found = {(event.action, event.actor) for event in ruled.catalog.events.latest(name="team/**")}
        return found >= {("set-policy-gate", "admin"), ("unset-policy-gate", "admin")}

    wait_until(is_told, 20, "both are audit events")


def test_the_report_by_http(ruled: Api) -> None:
    def event(hours: int, digest: str) -> Event:
        detail = {"digest": digest, "policy": "release", "mode": "refuse", "at": "pull", "requests": 3}
        return Event(NOW - timedelta(hours=hours), "", "policy-refuse", "team/app", "refused", "why", detail=detail)

    ruled.catalog.events.record([event(1, "one"), event(2, "one"), event(48, "two")])
    found = ruled.admin.get("/api/v1/gates/report", params={"since": "1d"}).json()
    assert [(one["digest"], one["requests"], one["mode"], one["reason"]) for one in found] == [
        ("one", 6, "refuse", "why")
    ]
    assert len(ruled.admin.get("/api/v1/gates/report").json()) == 2
    assert len(ruled.admin.get("/api/v1/gates/report", params={"since": "900000d"}).json()) == 2
    assert ruled.admin.get("/api/v1/gates/report", params={"since": "soon"}).status_code == 400


def test_lifecycles_by_http(ruled: Api) -> None:
    wanted = {"name": "prod/app:1.*", "end_of_life": "2026-04-30", "successor": "prod/app:2", "warn_before": "2w"}
    made = ruled.admin.put("/api/v1/lifecycles", json=wanted)
    assert made.status_code == 200, made.text
    expected = {**wanted, "end_of_life": "2026-04-30T00:00:00Z", "refuse": False, "actor": "admin"}
    assert made.json().items() >= expected.items()
    (rule,) = ruled.catalog.lifecycles.all()
    assert (rule.pattern, rule.tag, rule.warn_before) == ("prod/app", "1.*", timedelta(weeks=2))
    assert ruled.admin.get("/api/v1/lifecycles").json() == [made.json()]
    wrong: dict[str, Any]
    for wrong in (
        {"name": "A"}, {"name": "a:re:("}, {"end_of_life": "soon"}, {"message": "x" * 301}, {"warn_before": "99999d"},
        {"end_of_life": None, "successor": ""}, {"end_of_life": None, "refuse": True}, {"more": 1},
    ):  # fmt: skip
        assert ruled.admin.put("/api/v1/lifecycles", json={**wanted, **wrong}).status_code == 400, wrong
    query = {"name": "prod/app:1.*"}
    assert [ruled.admin.delete("/api/v1/lifecycles", params=query).status_code for _ in range(2)] == [204, 404]
    assert ruled.admin.get("/api/v1/lifecycles").json() == []
