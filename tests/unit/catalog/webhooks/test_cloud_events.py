"""What is committed, as the record of commits has it and as others are told of it."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from catalog.audit import Event
from catalog.catalog import Catalog
from catalog.commits.commit import _numbers, _Waiting
from catalog.commits.commit_log import TagChange, VersionMade
from catalog.distributions.records import Distribution
from catalog.versions.changes import CommitResult, RemoveTag, SetTag
from catalog.webhooks.cloud_events import (
    act_notification,
    cloud_event,
    distribution_envelope,
    distribution_notification,
    sign_body,
    version_notification,
)
from tests.unit.catalog.conftest import commit_to, push_image

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MADE = VersionMade(
    "team/app", 7, "push", "alice", "", "", NOW, 2, 2, 1000,
    added=(TagChange("v2", A, "application/vnd.oci.image.manifest.v1+json", 500),),
    moved=(TagChange("latest", A, "application/vnd.oci.image.manifest.v1+json", 500, B),),
    removed=(TagChange("v0", B, "", 0),),
)  # fmt: skip


def test_a_version_as_a_cloud_event() -> None:
    event = cloud_event(version_notification(MADE), "https://registry.example")
    data = event.pop("data")
    assert event == {
        "specversion": "1.0", "id": "team/app@7", "source": "https://registry.example", "type": "entrepot.version.created",
        "subject": "team/app", "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json",
    }  # fmt: skip
    assert (data["version"], data["operation"], data["actor"]) == (7, "push", "alice")
    assert [one["tag"] for one in data["tags"]["added"]] == ["v2"]
    assert data["tags"]["moved"][0]["previous"] == B
    assert data["tags"]["removed"] == [{"tag": "v0", "digest": B}]


def test_the_other_events_have_ids_of_their_own() -> None:
    served = Distribution("stable/app", "team/app", NOW, NOW, version=3)
    told = distribution_notification("stable/app", "set", served, 12, NOW)
    assert (told.id, told.data["serves"]["version"]) == ("stable/app@commit-12", 3)
    for known in (None, served):  # the reader may know of the deletion before what is in memory does
        assert distribution_notification("stable/app", "deleted", known, 13, NOW).data["serves"] is None
    refused = act_notification(Event(NOW, "bob", "push", "team/app", "refused", "no rule"), 14, 1)
    assert (refused.id, refused.kind) == ("act@commit-14.1", "act.refused")
    assert act_notification(Event(NOW, "admin", "add-rule", "x"), 14, 2).kind == "act.done"
    moved = act_notification(Event(NOW, "watch-upstream", "watch-immutable-moved", "registry.example/app"), 14, 3)
    assert moved.kind == "upstream.immutable.moved"
    assert distribution_envelope(refused, "s") is None


def test_a_signature_is_what_github_would_send() -> None:
    """The example of GitHub's documentation, "Validating webhook deliveries"."""
    signature = sign_body(b"Hello, World!", b"It's a Secret to Everybody")
    assert signature == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_every_commit_is_in_the_record_once(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    commits = catalog.commits.log()
    start = commits.last_position()
    assert commits.is_current()
    first = push_image(catalog, "team/app", "a", "one")
    other = open_again()
    push_image(other, "team/app", "a", "two")
    commit_to(other, "team/app", RemoveTag("a"), SetTag("b", first.snapshot.resolve("a")))
    catalog.events.record([Event(NOW, "bob", "login", "", "refused"), Event(NOW, "admin", "add-rule", "r")])
    catalog.distributions.put(Distribution("stable", "team/app", NOW, NOW), actor="admin")
    assert not commits.is_current()

    notes = commits.read(start, limit=10)
    assert [dict(note.versions) for note in notes] == [
        {"team/app": range(1, 2)}, {"team/app": range(2, 3)}, {"team/app": range(3, 4)}, {}, {},
    ]  # fmt: skip
    assert [dict(note.distributions) for note in notes] == [{"team/app": "set"}, {}, {}, {}, {"stable": "set"}]
    assert [note.position for note in notes] == list(range(start + 1, start + 6))
    assert [event.action for event in commits.acts(notes[3].position)] == ["login", "add-rule"]
    assert commits.read(start, limit=2) == notes[:2]
    assert commits.read(start, limit=2) is commits.read(start, limit=2), "asked once"
    assert commits.look() == notes[-1].position
    assert commits.is_current()

    one, two, three = commits.versions("team/app", range(1, 4))
    assert [[tag.tag for tag in group] for group in (one.added, one.moved, one.removed)] == [["a"], [], []]
    assert [(tag.tag, tag.previous) for tag in two.moved] == [("a", first.snapshot.resolve("a"))]
    assert [[tag.tag for tag in group] for group in (three.added, three.moved, three.removed)] == [["b"], [], ["a"]]
    assert not two.added


def test_commits_of_one_transaction_are_all_told(catalog: Catalog) -> None:
    snapshot = push_image(catalog, "team/app", "a", "one").snapshot
    waiting = _Waiting(None)  # type: ignore[arg-type]
    results = [CommitResult("team/app", number, changed=number != 5, snapshot=snapshot) for number in (3, 4, 5)]
    assert _numbers((waiting, one) for one in results) == {"team/app": range(3, 5)}


def test_more_tags_than_are_listed_are_told_to_be_more(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.commits.commit_log.MAX_TAGS", 2)
    digest = push_image(catalog, "team/app", "a", "one").snapshot.resolve("a")
    commit_to(catalog, "team/app", SetTag("b", digest), SetTag("c", digest), SetTag("d", digest))
    commits = catalog.commits.log()
    (made,) = commits.versions("team/app", range(2, 3))
    assert ([tag.tag for tag in made.added], made.truncated) == (["b", "c"], True)
    assert not commits.versions("team/app", range(1, 2))[0].truncated
