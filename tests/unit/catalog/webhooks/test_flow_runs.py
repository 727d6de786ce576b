"""Which flow runs events come to; and the queue that keeps them till Prefect has them."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from catalog.settings import read_settings
from catalog.state.shared_state import open_state
from catalog.webhooks import queue as event_queue
from catalog.webhooks.flow_runs import LONGEST, matches_event, plan_runs, requests_of, target_of
from catalog.webhooks.queue import Cursor, Enqueued, EventQueue, Run, UpstreamEvent, Waiting, open_queue
from catalog.webhooks.records import Hook, Subscription, read_record
from oci.errors import InvalidInput
from tests.postgresql import use

NOW = datetime(2026, 1, 2, tzinfo=UTC)
A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def hook(**fields: Any) -> Hook:
    return read_record(Hook, {"name": "up", "upstream": "registry.example", "created_at": NOW, **fields})


@pytest.fixture(params=["files", "postgresql"])
def open_again(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], EventQueue]]:
    """Opens the queue as a further process of the installation does."""
    if request.param == "postgresql":
        use(request.getfixturevalue("postgres_server").new_database(), monkeypatch)
    settings = read_settings(home=tmp_path)
    with ExitStack() as stack:

        def open_one() -> EventQueue:
            state = open_state(settings)
            if state is not None:
                stack.callback(state.close)
            return stack.enter_context(open_queue(settings, state))

        yield open_one


@pytest.fixture
def queue(open_again: Callable[[], EventQueue]) -> EventQueue:
    return open_again()


@pytest.mark.parametrize(
    ("fields", "pushed", "expected"),
    [
        ({}, UpstreamEvent("team/app", "v1"), True),
        ({}, UpstreamEvent("team/app", "", A), False),
        ({"whole": True}, UpstreamEvent("team/app", "", A), True),
        ({}, UpstreamEvent("team/app", "v1", action="delete"), False),
        ({"whole": True}, UpstreamEvent("team/app", "v1", action="delete"), True),
        ({}, UpstreamEvent("team/app", action="many"), True),
        ({"upstream": "registry.example/team"}, UpstreamEvent("team/app", "v1"), True),
        ({"upstream": "registry.example/team"}, UpstreamEvent("teammates/app", "v1"), False),
        ({"upstream": "registry.example/team/app"}, UpstreamEvent("team/app", "v1"), True),
        ({"repositories": ("team/**",)}, UpstreamEvent("other/app", "v1"), False),
        ({"repositories": ("other/*", "team/**")}, UpstreamEvent("team/a/b", "v1"), True),
        ({"tags": ("v*",)}, UpstreamEvent("team/app", "latest"), False),
        ({"tags": ("semver:>=1.2",)}, UpstreamEvent("team/app", "v1.3.0"), True),
        ({"tags": ("semver:>=1.2",), "whole": True}, UpstreamEvent("team/app", "v1.1.0"), False),
    ],
)
def test_a_hook_is_for_what_lies_under_its_upstream_and_fits(
    fields: dict[str, Any], pushed: UpstreamEvent, expected: bool
) -> None:
    assert matches_event(hook(**fields), pushed) is expected


@pytest.mark.parametrize(
    ("upstream", "target", "repository", "expected"),
    [
        ("registry.example", "", "team/app", "team/app"),
        ("registry.example", "mirror", "team/app", "mirror/team/app"),
        ("registry.example/team", "mirror/t", "team/app", "mirror/t/app"),
        ("registry.example/team/app", "app", "team/app", "app"),
        ("http://127.0.0.1:5000/team", "x", "team/a/b", "x/a/b"),
    ],
)
def test_names_here(upstream: str, target: str, repository: str, expected: str) -> None:
    assert target_of(hook(upstream=upstream, target=target), repository) == expected


def test_what_is_asked_of_the_sync() -> None:
    events = [UpstreamEvent("team/app", "v2"), UpstreamEvent("team/app", "v1"), UpstreamEvent("team/app", "v2")]
    some = hook(upstream="http://127.0.0.1:5000", request={"policy": "on_demand"}, tags=("v*",))
    (request,) = requests_of(some, "team/app", events)
    assert request == {
        "policy": "on_demand", "remote": "http://127.0.0.1:5000/team/app", "repository": "team/app", "include": ["v1", "v2"],
    }  # fmt: skip
    assert requests_of(some, "team/app", [*events, UpstreamEvent("team/app", action="many")])[0]["include"] == ["v*"]
    (whole,) = requests_of(hook(whole=True, request={"mode": "mirror", "include": ["v*"]}), "team/app", events)
    assert (whole["mode"], whole["include"]) == ("mirror", ["v*"])
    many = [UpstreamEvent("team/app", f"v{number}") for number in range(1200)]
    assert [len(one["include"]) for one in requests_of(some, "team/app", many)] == [500, 500, 200]


def test_pushes_of_one_repository_within_seconds_are_one_run() -> None:
    ids = map(str, count(1))
    waiting = [
        Waiting(1, "up", UpstreamEvent("team/app", "v1"), 100.0),
        Waiting(2, "up", UpstreamEvent("team/other", "v1"), 100.0),
        Waiting(3, "up", UpstreamEvent("team/app", "v2"), 102.0),
        Waiting(4, "gone", UpstreamEvent("team/app", "v2"), 102.0),
    ]
    hooks = {"up": hook()}
    early = plan_runs(hooks, waiting, 102.5, lambda: next(ids))
    assert (early.runs, early.done, early.next_at) == ((), (4,), 103.0)
    first = plan_runs(hooks, waiting, 103.0, lambda: next(ids))
    assert [(run.key, run.parameters["remote"]) for run in first.runs] == [("1", "registry.example/team/other")]
    assert (first.done, first.next_at) == ((4, 2), 105.0)
    second = plan_runs(hooks, waiting, 105.0, lambda: next(ids))
    assert [run.parameters["include"] for run in second.runs] == [["v1", "v2"], ["v1"]]


def test_a_repository_that_is_never_quiet_is_synced_all_the_same() -> None:
    waiting = [Waiting(n, "up", UpstreamEvent("team/app", f"v{n}"), 100.0 + n) for n in range(31)]
    assert plan_runs({"up": hook()}, waiting, 100.0 + LONGEST, lambda: "key").done == tuple(range(31))


@pytest.mark.parametrize(
    ("fields", "said_of_it"),
    [
        ({"request": {"remote": "evil.example/x"}}, "come from the event"),
        ({"request": {"mode": "mirror"}}, "needs whole"),
        ({"request": {"include": ["v*"]}}, "need whole"),
        ({"upstream": "user:password@registry.example"}, "login"),
        ({"upstream": "Not A Registry"}, "upstream"),
        ({"upstream": "team"}, "names no registry"),
        ({"upstream": ""}, "names no registry"),
        ({"deployment": "sync"}, "FLOW/DEPLOYMENT"),
        ({"deployment": "a/../../admin"}, "FLOW/DEPLOYMENT"),
        ({"tags": ("re:(",)}, "regular expression"),
        ({"repositories": ("TEAM",)}, "pattern"),
        ({"target": "UPPER"}, "repository name"),
        ({"name": "a/b"}, "name"),
    ],
)
def test_a_hook_that_could_not_work_is_refused(fields: dict[str, Any], said_of_it: str) -> None:
    with pytest.raises(InvalidInput, match=said_of_it) as caught:
        hook(**fields)
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "file:///etc/passwd"},
        {"url": "https://user:password@receiver.example/"},
        {"events": ("version.made",)},
        {"events": ()},
        {"secret_env": "A", "secret_file": "/b"},
        {"secret_env": "A B"},
        {"format": "distribution", "events": ("act.*",)},
    ],
)
def test_a_subscription_that_could_not_work_is_refused(fields: dict[str, Any]) -> None:
    good = {"id": "1", "url": "https://receiver.example/hook", "created_at": NOW}
    assert read_record(Subscription, good).covers("any/thing")
    with pytest.raises(InvalidInput) as caught:
        read_record(Subscription, {**good, **fields})
    assert "password" not in str(caught.value)


# --- the queue ---


def test_an_event_that_is_told_twice_waits_once(queue: EventQueue) -> None:
    one = UpstreamEvent("team/app", "v1", A, event_id="1")
    assert queue.enqueue("up", [one, one], 100.0).kept == 1
    assert queue.enqueue("up", [one], 3000.0).known == 1, "by its id"
    assert queue.enqueue("up", [UpstreamEvent("team/app", "v1", A, event_id="2")], 110.0).known == 1, (
        "by tag and digest"
    )
    assert queue.enqueue("up", [UpstreamEvent("team/app", "v1", A, event_id="3")], 200.0).kept == 1, (
        "later it is another push"
    )
    assert queue.enqueue("other", [one], 100.0).kept == 1, "hooks are apart"
    assert len(queue.waiting()) == 3


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "ö 100% ?"])
def test_whatever_others_call_an_event_is_kept(queue: EventQueue, text: str) -> None:
    one = UpstreamEvent("team/app", "v1", event_id=text)
    assert queue.enqueue("up", [one, one], 100.0).kept == 1
    queue.begin("s", 7, NOW)
    queue.move("s", Cursor(8, 0, NOW, 0, 1, text))
    found = queue.cursor("s")
    assert found is not None
    assert found.error[0] == text[0]


def test_a_tag_that_goes_back_is_told(queue: EventQueue) -> None:
    moves = [UpstreamEvent("team/app", "v1", digest) for digest in (A, B, A)]
    assert queue.enqueue("up", moves, 100.0).kept == 3
    gone = [UpstreamEvent("team/app", "v1", A, "delete"), UpstreamEvent("team/app", "v1", A)]
    assert queue.enqueue("up", gone, 101.0).kept == 2
    assert queue.enqueue("up", [UpstreamEvent("team/app", "latest")] * 2, 102.0).kept == 2, (
        "without a digest nothing is the same"
    )


def test_the_oldest_are_dropped_and_counted(queue: EventQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "MOST_WAITING", 3)
    assert queue.enqueue("up", [UpstreamEvent("a", f"v{n}") for n in range(3)], 1.0).dropped == 0
    assert queue.enqueue("up", [UpstreamEvent("a", f"v{n}") for n in range(3, 5)], 1.0).dropped == 2
    assert [one.pushed.tag for one in queue.waiting()] == ["v2", "v3", "v4"]
    runs = [Run(str(n), "up", "f/d", {}, float(n)) for n in range(5)]
    assert queue.plan(runs, []) == 2
    assert [run.key for run in queue.due(10.0)[0]] == ["2", "3", "4"]


def test_runs_take_the_place_of_their_events_and_wait_out_failures(
    queue: EventQueue, open_again: Callable[[], EventQueue]
) -> None:
    queue.enqueue("up", [UpstreamEvent("a", "v1"), UpstreamEvent("a", "v2")], 1.0)
    first, second = queue.waiting()
    queue.plan([Run("k", "up", "f/d", {"remote": "r/a"}, 5.0)], [first.id])
    assert queue.waiting() == [second]
    again = open_again()  # as after a kill
    assert again.due(4.0) == ([], 5.0)
    (run,), later = again.due(5.0)
    assert (run.parameters, later) == ({"remote": "r/a"}, None)
    mark = queue.mark()
    again.postpone(run, 9.0)
    assert queue.mark() != mark
    assert queue.due(5.0) == ([], 9.0)
    (run,), _ = queue.due(9.0)
    assert run.attempts == 1
    assert queue.backlog("up") == (1, 1)
    queue.finish(run)
    queue.forget_hook("up")
    assert queue.backlog("up") == (0, 0)
    mark = queue.mark()
    queue.waiting()
    assert queue.mark() == mark


def test_a_subscribers_place_is_kept(queue: EventQueue) -> None:
    assert queue.cursor("s") is None
    queue.begin("s", 7, NOW)
    assert queue.cursor("s") == Cursor(7, 0, NOW)
    queue.move("s", Cursor(8, 2, NOW, 5, 1, "answered 500"))
    assert queue.cursor("s") == Cursor(8, 2, NOW, 5, 1, "answered 500")
    queue.end("s")
    queue.move("s", Cursor(9, 0, NOW))
    assert queue.cursor("s") is None


def test_events_that_another_process_has_planned_are_not_planned_again(
    queue: EventQueue, open_again: Callable[[], EventQueue]
) -> None:
    other = open_again()
    queue.enqueue("up", [UpstreamEvent("a", "v1"), UpstreamEvent("a", "v2")], 1.0)
    first, second = [one.id for one in queue.waiting()]
    queue.plan([Run("k1", "up", "f/d", {}, 5.0)], [first])
    assert other.plan([Run("k2", "up", "f/d", {}, 5.0)], [first, second]) == 0
    assert [run.key for run in other.due(9.0)[0]] == ["k1"]
    assert [one.id for one in other.waiting()] == [second]


def test_what_two_take_in_at_once_is_all_there_and_once(
    queue: EventQueue, open_again: Callable[[], EventQueue]
) -> None:
    queues, together, rounds = [queue, open_again()] * 2, Barrier(4), 20

    def enqueue(one: EventQueue, number: int) -> Enqueued:
        together.wait(10)
        return one.enqueue("up", [UpstreamEvent("a", f"v{number}", event_id=str(number))], 1.0)

    with ThreadPoolExecutor(4) as pool:
        taken = [one for number in range(rounds) for one in pool.map(enqueue, queues, [number] * 4)]
    assert (sum(one.kept for one in taken), sum(one.known for one in taken)) == (rounds, 3 * rounds)
    assert len(queue.waiting()) == rounds


def test_the_queue_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with open_queue(read_settings(home=tmp_path)) as queue:
        queue.enqueue("up", [UpstreamEvent("a", "v1")], 1.0)
        assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("events.sqlite*")} == {0o600}


def test_threads_that_read_share_a_connection(tmp_path: Path) -> None:
    def handles() -> int:
        return sum(1 for link in Path("/proc/self/fd").iterdir() if "events.sqlite" in os.path.realpath(link))

    with open_queue(read_settings(home=tmp_path)) as queue, ThreadPoolExecutor(8) as pool:
        queue.enqueue("up", [UpstreamEvent("a", "v1")], 1.0)
        queue.mark()
        before, together = handles(), Barrier(8)

        def read(_: int) -> int:
            together.wait(10)
            return len(queue.waiting())

        assert list(pool.map(read, range(8))) == [1] * 8
        assert handles() <= before
        mark = queue.mark()
        queue.enqueue("up", [UpstreamEvent("a", "v2")], 1.0)
        assert queue.mark() != mark


def test_a_queue_of_a_former_release_goes_on(tmp_path: Path) -> None:
    """It had the same tables, and was written by `INSERT OR REPLACE`."""
    with open_queue(read_settings(home=tmp_path)) as queue:
        queue.enqueue("up", [UpstreamEvent("a", "v1")], 1.0)
    with closing(sqlite3.connect(tmp_path / "events.sqlite")) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (1,)
        tables = file.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    assert [name for (name,) in tables] == ["cursors", "events", "runs", "seen", "sqlite_sequence"]
