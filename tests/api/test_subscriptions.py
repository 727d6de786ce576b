"""CloudEvents out: each commit is told once it is there, in order, at least once, to each subscriber by itself."""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalog.audit import Event
from catalog.commits.commit_log import CommitLog
from catalog.distributions.records import Distribution
from catalog.webhooks.queue import open_queue
from catalog.webhooks.records import EventRecords, Subscription, open_event_records, read_record
from oci.digest import Digest
from registry_api.app import create_app
from registry_api.webhooks.subscribers import delivery_pause
from tests.api.conftest import Api, serve, simple_manifest
from tests.receivers import Answer, Received, Receiver, receive
from tests.servers import EntrepotServer, wait_until


@contextmanager
def subscribed(api: Api, receiver: Receiver, **fields: Any) -> Iterator[str]:
    """A subscription for one test; its id."""
    made = api.admin.post("/api/v1/subscriptions", json={"url": f"{receiver.url}/events", **fields})
    assert made.status_code == 201, made.text
    yield made.json()["id"]
    api.admin.delete(f"/api/v1/subscriptions/{made.json()['id']}")


def push(api: Api, name: str, tag: str, **fields: object) -> Digest:
    raw = simple_manifest(api, name, **fields)
    assert api.put_manifest(name, tag, raw).status_code == 201
    return Digest.of(raw)


def ids(found: Sequence[Received]) -> list[str]:
    return [one.json["id"] for one in found]


def test_a_push_is_told(api: Api, name: str) -> None:
    with receive() as receiver, subscribed(api, receiver, repositories=[name]) as key:
        first = push(api, name, "v1", annotations={"a": "1"})
        push(api, "other/app", "v1")
        second = push(api, name, "v1", annotations={"a": "2"})
        found = receiver.await_count(3)
        assert ids(found) == [f"{name}@1", f"{name}@commit-{found[1].json['id'].rpartition('-')[2]}", f"{name}@2"]
        version = found[2].json
        assert found[2].headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert (version["type"], version["subject"], version["specversion"]) == (
            "entrepot.version.created",
            name,
            "1.0",
        )
        assert (version["data"]["actor"], version["data"]["operation"]) == ("admin", "push")
        (moved,) = version["data"]["tags"]["moved"]
        assert (moved["tag"], moved["digest"], moved["previous"]) == ("v1", second, first)
        assert api.admin.delete(f"/v2/{name}/manifests/v1").status_code == 202
        assert receiver.await_count(4)[3].json["data"]["tags"]["removed"] == [{"tag": "v1", "digest": second}]

        def shown() -> Any:
            return api.admin.get(f"/api/v1/subscriptions/{key}").json()

        wait_until(lambda: shown()["delivered"] == 4, 10, "four are counted")
        assert shown()["failures"] == 0


def test_distributions_acts_and_refusals_are_told_where_asked_for(api: Api, name: str) -> None:
    push(api, name, "v1")
    now = datetime.now(UTC)
    with (
        receive() as paths,
        receive() as acts,
        subscribed(api, paths, events=["distribution.*"], repositories=["stable/**"]),
        subscribed(api, acts, events=["act.refused"]),
    ):
        api.catalog.distributions.put(Distribution("stable/app", name, now, now, version=1), actor="admin")
        api.catalog.events.record(
            [Event(now, "admin", "add-rule", "r"), Event(now, "bob", "push", "x", "refused", "no")]
        )
        api.catalog.distributions.delete("stable/app", actor="admin")
        found = [one.json for one in paths.await_count(2)]
        assert [(one["type"], one["data"]["change"]) for one in found] == [
            ("entrepot.distribution.changed", "set"),
            ("entrepot.distribution.changed", "deleted"),
        ]
        assert found[1]["data"]["serves"] is None
        (refused,) = acts.await_count(1)
        assert (refused.json["type"], refused.json["data"]["actor"]) == ("entrepot.act.refused", "bob")


def test_the_envelope_of_docker_registry_is_another_format(api: Api, name: str) -> None:
    with receive() as receiver, subscribed(api, receiver, format="distribution", repositories=[name]):
        digest = push(api, name, "v1")
        (one,) = receiver.await_count(1)
        (event,) = one.json["events"]
        assert one.headers["content-type"] == "application/vnd.docker.distribution.events.v1+json"
        assert (event["action"], event["target"]["tag"], event["target"]["digest"]) == ("push", "v1", digest)


def test_bodies_are_signed_with_a_secret_that_is_kept_elsewhere(
    api: Api, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret_file = api.catalog.settings.root / "secrets" / "events"
    secret_file.parent.mkdir()
    secret_file.write_text("of the file\n")
    elsewhere = {"url": "https://receiver.example", "secret_file": str(tmp_path / "secret")}
    assert api.admin.post("/api/v1/subscriptions", json=elsewhere).status_code == 403
    monkeypatch.setenv("EVENT_SECRET", "of the variable")
    with (
        receive() as by_file,
        receive() as by_variable,
        subscribed(api, by_file, secret_file=str(secret_file), repositories=[name]),
        subscribed(api, by_variable, secret_env="EVENT_SECRET", repositories=[name]),  # a name
    ):
        push(api, name, "v1")
        for receiver, secret in ((by_file, b"of the file"), (by_variable, b"of the variable")):
            one = receiver.await_count(1)[0]
            assert (
                one.headers["x-hub-signature-256"] == f"sha256={hmac.new(secret, one.body, hashlib.sha256).hexdigest()}"
            )
    assert "of the file" not in api.event_records()


@pytest.mark.slow
def test_a_receiver_that_fails_gets_all_in_order_and_holds_up_nobody(api: Api, name: str) -> None:
    fails = [500, 302, 429]

    def answer(_: Received) -> Answer:
        status = fails.pop(0) if fails else 204
        return status, {"Location": f"{good.url}/stolen", "Retry-After": "0"}, b""

    with (
        receive() as good,
        receive(answer) as bad,
        subscribed(api, bad, repositories=[name], events=["version.created"]) as key,
        subscribed(api, good, repositories=[name], events=["version.created"]),
    ):
        for number in range(3):
            push(api, name, "v1", annotations={"a": str(number)})
        assert ids(good.await_count(3)) == [f"{name}@{number}" for number in (1, 2, 3)]

        def shown() -> Any:
            return api.admin.get(f"/api/v1/subscriptions/{key}").json()

        wait_until(lambda: shown()["failures"] == 2, 20, "two failures are shown")
        assert "redirects are not followed" in shown()["error"]
        assert ids(bad.await_count(6)) == [f"{name}@{number}" for number in (1, 1, 1, 1, 2, 3)]
        wait_until(lambda: shown()["delivered"] == 3, 10, "all are delivered")
        assert {one.path for one in good.received} == {"/events"}


@pytest.mark.slow
def test_old_events_are_given_up_and_that_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    later, status = [timedelta()], [500]
    assert create_app.__kwdefaults__ is not None
    monkeypatch.setitem(create_app.__kwdefaults__, "now", lambda: datetime.now(UTC) + later[0])
    with (
        serve(tmp_path / "entrepot") as api,
        receive(lambda _: (status[0], {}, b"")) as receiver,
        subscribed(api, receiver, give_up_hours=1, events=["version.created"]) as key,
    ):
        push(api, name, "v1", annotations={"a": "1"})
        receiver.await_count(1)
        later[0] = timedelta(hours=2)

        def dropped() -> Any:
            return api.admin.get("/api/v1/events", params={"action": "drop-events"}).json()

        wait_until(lambda: bool(dropped()), 10, "it is recorded")
        later[0], status[0] = timedelta(), 200
        assert (dropped()[0]["name"], dropped()[0]["outcome"]) == (key, "refused")
        assert "answered 500" in dropped()[0]["reason"]
        failed = len(receiver.received)
        push(api, name, "v1", annotations={"a": "2"})
        assert ids(receiver.await_count(failed + 1)) == [f"{name}@1"] * failed + [f"{name}@2"]


def test_what_is_no_longer_in_the_record_is_told_all_the_same(own_api: Api, name: str) -> None:
    """Maintenance may expire DuckLake's snapshots; versions tell of themselves then, some of them twice."""
    status = [500]
    with (
        receive(lambda _: (status[0], {}, b"")) as receiver,
        subscribed(own_api, receiver, events=["version.created"], repositories=[name]) as key,
    ):
        push(own_api, name, "v1", annotations={"a": "1"})
        receiver.await_count(1)
        for number in (2, 3):
            push(own_api, name, "v1", annotations={"a": str(number)})
        with own_api.catalog._lake._locked():
            own_api.catalog._lake.cursor().execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
        status[0] = 200

        def shown() -> Any:
            return own_api.admin.get(f"/api/v1/subscriptions/{key}").json()

        wait_until(lambda: f"{name}@3" in ids(receiver.received), 20, "the newest is told")
        wait_until(lambda: shown()["delivered"] >= 3, 10, "all are counted")
        told = ids(receiver.received)
        assert list(dict.fromkeys(told)) == [f"{name}@1", f"{name}@2", f"{name}@3"]
        push(own_api, name, "v1", annotations={"a": "4"})
        wait_until(lambda: ids(receiver.received)[-1] == f"{name}@4", 20, "and so it goes on")


@pytest.mark.slow
def test_a_place_that_a_restored_catalogue_has_not_reached_is_given_up(tmp_path: Path, name: str) -> None:
    with receive() as receiver:
        with serve(tmp_path / "entrepot") as api, subscribed(api, receiver, events=["version.created"]) as key:
            pass
        with serve(tmp_path / "entrepot") as api, open_queue(api.catalog.settings, api.catalog.state) as queue:
            queue.begin(key, 10**6, datetime.now(UTC))
            fields = {"id": key, "url": receiver.url, "events": ("version.created",), "created_at": datetime.now(UTC)}
            record = read_record(Subscription, fields)
            open_event_records(api.catalog.settings, api.catalog.state).update(
                lambda _: EventRecords(subscriptions={key: record})
            )
            wait_until(
                lambda: (found := queue.cursor(key)) is not None and found.position < 10**6, 10, "it begins anew"
            )
            push(api, name, "v1")
            assert ids(receiver.await_count(1)) == [f"{name}@1"]


def test_without_commits_and_subscribers_nothing_is_asked(api: Api, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receive() as receiver, subscribed(api, receiver, repositories=[name]):
        push(api, name, "v1")
        receiver.await_count(2)
        wait_until(lambda: not api.catalog.events.waits, 10, "audit events are written")
        glances: list[bool] = []
        questions: list[str] = []
        look, read = CommitLog.is_current, api.catalog._lake.read

        def glance(log: CommitLog) -> bool:
            glances.append(look(log))
            return glances[-1]

        def question(sql: str, parameters: Sequence[object] = ()) -> Any:
            questions.append(sql)
            return read(sql, parameters)

        wait_until(lambda: api.catalog.snapshots.is_current(), 10, "all is known")
        monkeypatch.setattr(CommitLog, "is_current", glance)
        wait_until(lambda: glances[-3:] == [True] * 3, 10, "the last commit is known to the background task")
        monkeypatch.setattr(api.catalog._lake, "read", question)
        seen = len(glances)
        wait_until(lambda: len(glances) >= seen + 5, 10, "it glances on")
        assert questions == []


def test_only_administrators_manage_subscriptions(api: Api) -> None:
    wanted = {"url": "http://127.0.0.1:9/x"}
    assert api.anybody.post("/api/v1/subscriptions", json=wanted).status_code == 401
    assert api.anybody.get("/api/v1/subscriptions").status_code == 401
    for url in ("file:///etc/passwd", "http://user:secret@host/", "ftp://host/"):
        refused = api.admin.post("/api/v1/subscriptions", json={"url": url})
        assert refused.status_code == 400
        assert "secret@" not in refused.text
    made = api.admin.post("/api/v1/subscriptions", json=wanted).json()
    assert made["id"] in [one["id"] for one in api.admin.get("/api/v1/subscriptions").json()]
    assert api.admin.delete(f"/api/v1/subscriptions/{made['id']}").status_code == 204
    assert api.admin.delete(f"/api/v1/subscriptions/{made['id']}").status_code == 404


@pytest.mark.slow
def test_one_process_of_many_tells_and_another_takes_over(
    entrepot_server: Callable[..., EntrepotServer], name: str
) -> None:
    """Two registries over one home: nothing is told twice; the one that tells is killed, the other goes on where it was."""
    allowed = {"ENTREPOT_INTERNAL_HOSTS": "127.0.0.1"}
    first = entrepot_server(env=allowed)
    second = entrepot_server(first.home, env=allowed)
    with receive() as receiver, httpx.Client(base_url=second.url, auth=second.auth, trust_env=False) as client:
        made = client.post("/api/v1/subscriptions", json={"url": receiver.url, "events": ["version.created"]})
        assert made.status_code == 201
        put_empty(client, name, "a")
        receiver.await_count(1)
        put_empty(client, name, "b")
        receiver.await_count(2)

        def shown() -> Any:
            return client.get(f"/api/v1/subscriptions/{made.json()['id']}").json()

        wait_until(lambda: shown()["delivered"] == 2, 10, "it is known that both were told")
        first.child.kill()
        put_empty(client, name, "c")
        assert ids(receiver.await_count(3)) == [f"{name}@1", f"{name}@2", f"{name}@3"]


def put_empty(client: Any, name: str, text: str) -> None:
    """Push an index without manifests, told apart by an annotation."""
    document = (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],'
        f'"annotations":{{"a":"{text}"}}}}'
    )
    answer = client.put(
        f"/v2/{name}/manifests/v1",
        content=document,
        headers={"Content-Type": "application/vnd.oci.image.index.v1+json"},
    )
    assert answer.status_code == 201, answer.text


def test_pauses_grow_and_heed_the_receiver() -> None:
    assert [delivery_pause(failures, None) for failures in (1, 2, 3, 12, 999)] == [1.0, 2.0, 4.0, 300.0, 300.0]
    assert delivery_pause(1, 20.0) == 20.0
