"""Promotions that wait for a person, on a real Prefect: the plan is shown, and nothing else than that plan is done."""

import re
from typing import Any

import pytest

from oci.memory import MemoryStore
from tests.cli.commands import Entrepot
from tests.console.conftest import Console
from tests.flows.test_sync_flow import image
from tests.homes import new_home
from tests.servers import wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.slow


def sync(console: Console, upstream: Upstream, name: str) -> None:
    console.entrepot.json("sync", f"{upstream.host}/team/app", name)


def ask_for(console: Console, source: str, target: str, **fields: object) -> dict[str, Any]:
    """A promotion that waits for its approval."""
    wanted = {"source": source, "repository": target, "tags": ["v1"], "approval": True, **fields}
    return console.await_state(console.run("promote-content", wanted), "PAUSED")


def plan_of(console: Console, run: dict[str, Any]) -> str:
    (report,) = [one["data"] for key, one in console.artifacts(run["id"]).items() if key.startswith("plan-")]
    found = re.search(r"Plan `(sha256:[0-9a-f]{64})`", report)
    assert found is not None, report
    return found[1]


def answer(console: Console, run: dict[str, Any], decision: str, plan: str, **more: str) -> dict[str, Any]:
    given = {"decision": decision, "plan": plan, **more}
    return dict(console.ask("POST", f"/flow_runs/{run['id']}/resume", {"run_input": given}))


def latest(console: Console, name: str) -> dict[str, Any]:
    return dict(console.entrepot.json("version", "list", name)[0])


def test_a_plan_that_a_person_approves_is_promoted(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    digest = image(store, "v1").digest
    sync(console, upstream, "yes/dev")
    run = ask_for(console, "yes/dev", "yes/prod")
    assert run["state"]["name"] == "Suspended"
    report = next(one for key, one in console.artifacts(run["id"]).items() if key.startswith("plan-yes-prod-"))
    assert digest in report["data"]
    assert f"http://127.0.0.1:{console.registry}/repository/yes/dev" in report["data"]
    assert console.entrepot("version", "list", "yes/prod").returncode == 1  # nothing is done yet
    answered = answer(console, run, "approve", plan_of(console, run), approver="Ada\x1b[31m", comment="tested | twice")
    assert answered["status"] == "ACCEPT", answered
    console.await_state(run["id"], "COMPLETED")
    message = latest(console, "yes/prod")["message"]
    assert message.startswith("approved by Ada [31m: tested | twice; promoted from version 1 of yes/dev"), message
    (event,) = [one for one in console.entrepot.json("event", "list") if one["action"] == "answer-promotion"]
    assert (event["name"], event["outcome"], event["actor"]) == ("yes/prod", "done", "promote-content")
    assert event["detail"]["plan"] == plan_of(console, run)


def test_a_plan_that_a_person_rejects_is_not_done(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    sync(console, upstream, "no/dev")
    run = ask_for(console, "no/dev", "no/prod")
    answer(console, run, "reject", plan_of(console, run), approver="Ada", comment="too early")
    ended = console.await_state(run["id"], "FAILED")
    assert "the promotion to no/prod was rejected by Ada: too early" in ended["state"]["message"]
    assert console.entrepot("version", "list", "no/prod").returncode == 1


def test_what_has_changed_since_the_approval_is_not_done(
    console: Console, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    sync(console, upstream, "moved/dev")
    run = ask_for(console, "moved/dev", "moved/prod")
    plan = plan_of(console, run)
    image(store, "v1", "something else")
    sync(console, upstream, "moved/dev")
    answer(console, run, "approve", plan)
    ended = console.await_state(run["id"], "FAILED")
    assert "has changed since the plan was approved; nothing was done" in ended["state"]["message"]
    assert console.entrepot("version", "list", "moved/prod").returncode == 1


def test_an_answer_is_for_the_plan_that_was_shown(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    sync(console, upstream, "other/dev")
    run = ask_for(console, "other/dev", "other/prod")
    for wrong in ({"plan": f"sha256:{'0' * 64}"}, {"decision": "maybe"}):
        given = {"decision": "approve", "plan": plan_of(console, run), **wrong}
        refused = console.ask("POST", f"/flow_runs/{run['id']}/resume", {"run_input": given})
        assert refused["status"] == "REJECT", refused
    assert console.flow_run(run["id"])["state"]["type"] == "PAUSED"


def test_without_an_answer_a_promotion_fails(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    sync(console, upstream, "late/dev")
    run = ask_for(console, "late/dev", "late/prod", approval_timeout="1s")
    ended = console.await_state(run["id"], "FAILED")
    assert "never resumed" in ended["state"]["message"]
    assert console.entrepot("version", "list", "late/prod").returncode == 1


def test_a_promotion_that_changes_nothing_asks_nobody(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    sync(console, upstream, "same/dev")
    console.finish("promote-content", {"source": "same/dev", "repository": "same/prod", "tags": ["v1"]})
    wanted = {"source": "same/dev", "repository": "same/prod", "tags": ["v1"], "approval": True}
    console.finish("promote-content", wanted)


def test_a_command_waits_for_the_answer(console: Console, upstream: Upstream, store: MemoryStore) -> None:
    image(store, "v1")
    sync(console, upstream, "by/dev")
    command = console.entrepot.start("promote", "by/dev", "by/prod", "--tag", "v1", "--approval")
    waiting: list[dict[str, Any]] = []

    def is_paused() -> bool:
        which = {"name": {"any_": ["promote by/dev to by/prod"]}, "state": {"type": {"any_": ["PAUSED"]}}}
        waiting[:] = console.ask("POST", "/flow_runs/filter", {"flow_runs": which})
        assert command.running, command.output()
        return bool(waiting)

    wait_until(is_paused, 200, "the command's run waits")
    answer(console, waiting[0], "approve", plan_of(console, waiting[0]))
    assert command.wait(60) == 0, command.output()
    assert latest(console, "by/prod")["message"].startswith("approved by somebody who gave no name; promoted from")


def test_a_command_without_a_server_says_that_nobody_could_answer(console: Console) -> None:
    alone = Entrepot(new_home(console.entrepot.home.parent / "alone", administrator=True), console.entrepot.children)
    refused = alone("promote", "a", "b", "--approval")
    assert refused.returncode == 2
    assert "needs a Prefect server that people can open" in refused.stderr
