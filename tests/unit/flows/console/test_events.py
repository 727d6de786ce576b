"""What Prefect is told of versions and paths: once for each, the same whenever it is told again, and no secret."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.context import FlowRunContext

from catalog.settings import read_settings
from catalog.versions.changes import Commit, CommitResult, RemoveTag, SetTag
from catalog.versions.snapshot import Snapshot
from catalog.versions.version_origins import VersionOrigin
from flows.console.events import ConsoleEvent, path_event, version_event
from flows.console.home_id import home_id
from flows.engine.events import send_event
from oci.digest import Digest

A, B = Digest.of(b"a"), Digest.of(b"b")
COMMIT = Commit(
    repository="team/app",
    operation="sync",
    changes=(SetTag("v1", A), SetTag("v2", B), RemoveTag("v0")),
    operation_id="run",
    actor="sync-repository",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    version_origins=(
        VersionOrigin("remote", "https://registry.example/team/app"),
        VersionOrigin("repository", "base/app", 3),
        VersionOrigin("bundle", "x"),
    ),
)
MADE = CommitResult("team/app", 7, changed=True, snapshot=Snapshot("team/app", 7, {"v1": A, "v2": B}))


def test_a_version_is_one_event_with_its_repository_and_its_upstreams() -> None:
    told = version_event(COMMIT, MADE, home="home1", page="http://registry.example/repository/team/app")
    assert told.event == "entrepot.version.created"
    assert told.resource == {
        "prefect.resource.id": "entrepot.repository.home1.team/app", "prefect.resource.name": "team/app",
        "entrepot.repository": "team/app", "entrepot.operation": "sync", "entrepot.home": "home1",
    }  # fmt: skip
    assert [(one["prefect.resource.role"], one["prefect.resource.id"]) for one in told.related] == [
        ("upstream", "entrepot.upstream.registry.example/team/app"), ("source", "entrepot.repository.home1.base/app"),
    ]  # fmt: skip
    assert told.payload["changed"] == {"tags_set": 2, "tags_removed": 1, "manifests_added": 0, "manifests_removed": 0}
    assert (told.payload["version"], told.payload["tags"]) == (7, 2)
    assert "v1" not in str(told.payload)
    again = version_event(COMMIT, MADE, home="home1", page="")
    assert again.id == told.id
    assert version_event(COMMIT, MADE, home="home2", page="").id != told.id


def test_a_path_is_one_event() -> None:
    told = path_event("team/app", "removed", 0, run_id="r", host="registry.example", home="home1", page="p")
    assert told.resource["entrepot.change"] == "removed"
    assert {one["prefect.resource.role"] for one in told.related} == {"repository", "upstream"}


def test_many_origins_are_few_related_resources() -> None:
    many = tuple(VersionOrigin("remote", f"registry.example/r{n}") for n in range(500))
    commit = Commit("a", "curate", (), "run", "x", COMMIT.created_at, version_origins=many)
    assert len(version_event(commit, MADE, home="h", page="").related) == 20


def test_what_cannot_be_sent_fails_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("https://user:hunter2@prefect.example")

    monkeypatch.setattr("prefect.events.emit_event", fail)
    one: ConsoleEvent = version_event(COMMIT, MADE, home="h", page="")
    send_event(one)  # outside of a run nothing is sent
    assert not caplog.records
    monkeypatch.setattr(FlowRunContext, "get", lambda: object())
    send_event(one)
    assert [record.getMessage() for record in caplog.records] == ["no event for Prefect: ConnectionError"]


def test_a_home_is_known_by_its_catalogue(tmp_path: Path) -> None:
    def of(**fields: object) -> str:
        return home_id(read_settings(home=tmp_path / "a").model_copy(update=fields))

    first = of(catalog="postgresql://entrepot:hunter2@db.example/entrepot")
    assert first == of(catalog="postgresql://other@db.example:5432/entrepot?sslmode=verify-full")
    assert len({first, of(), home_id(read_settings(home=tmp_path / "b")), of(catalog="postgresql://db.example/b")}) == 4
