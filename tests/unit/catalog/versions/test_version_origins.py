"""Where a version came from is a fact of its record: stated by its commit, kept over deletions, and read from no message."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.lake import schema
from catalog.versions.changes import AddManifest, Commit, SetTag
from catalog.versions.rows import fit_records, version_record
from catalog.versions.snapshot import Delta, Snapshot
from catalog.versions.version_origins import VersionOrigin, parse_origins, remote_origins, remotes_of, render_origins
from oci.digest import Digest
from oci.remote.address import parse_remote
from tests.unit.catalog.conftest import commit_to, push_image, stage_image

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAME = "team/app"
FIRST, SECOND = VersionOrigin("remote", "one.example/team/app"), VersionOrigin("remote", "http://two.example:5000/app")


def sync_image(catalog: Catalog, tag: str, *origins: VersionOrigin, **fields: object) -> Digest:
    image = stage_image(catalog, NAME, tag)
    changes = (AddManifest(image), SetTag(tag, image.digest))
    commit_to(catalog, NAME, *changes, operation_id=tag, version_origins=origins, **fields)
    return image.digest


def upstreams(catalog: Catalog, digest: Digest) -> list[str]:
    (use,) = catalog.maintenance.uses(digest)
    return list(map(str, use.upstreams))


def test_origins_are_kept_in_order_with_all_their_parts() -> None:
    origins = (FIRST, SECOND, VersionOrigin("repository", "team/base", 7), VersionOrigin("bundle", 'a "quoted".tar', 2))
    assert parse_origins(render_origins(origins)) == origins
    assert list(map(str, remotes_of(origins))) == [FIRST.name, SECOND.name]
    assert render_origins(()) is None
    assert parse_origins(None) == ()


def test_a_kind_and_a_remote_that_nobody_knows_are_passed_over() -> None:
    text = (
        '[{"kind":"moon","name":"x","version":null},{"kind":"remote","name":"no remote","version":null},'
        '{"kind":"remote","name":"one.example/team/app","version":null}]'
    )
    assert [one.kind for one in parse_origins(text)] == ["remote", "remote"]
    assert list(map(str, remotes_of(parse_origins(text)))) == [FIRST.name]


def test_remotes_are_named_without_tag_and_digest_and_once() -> None:
    texts = ("one.example/team/app:v1", "one.example/team/app", "http://two.example:5000/app@sha256:" + "a" * 64)
    assert remote_origins(map(parse_remote, texts)) == (FIRST, SECOND)


def test_a_version_has_the_origins_of_its_commit(catalog: Catalog) -> None:
    sync_image(catalog, "v1", FIRST, SECOND)
    push_image(catalog, NAME, "v2", "pushed")
    assert [row.origins for row in catalog.history.versions(NAME)] == [(), (FIRST, SECOND)]
    assert catalog.history.version(NAME, 1).origins == (FIRST, SECOND)
    rows = catalog.query.run(
        "SELECT repository, number, position, kind, name, version FROM version_origins"
    ).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        (NAME, 1, position, "remote", origin.name, None) for position, origin in enumerate((FIRST, SECOND))
    ]


def test_whoever_uses_a_digest_is_healed_from_where_it_was_brought_first(catalog: Catalog) -> None:
    old = sync_image(catalog, "v1", FIRST)
    new = sync_image(catalog, "v2", SECOND, FIRST)
    sync_image(catalog, "v3", VersionOrigin("remote", "three.example/app"))
    assert upstreams(catalog, old) == [FIRST.name, "three.example/app", SECOND.name]
    assert upstreams(catalog, new) == [SECOND.name, FIRST.name, "three.example/app"]


def test_a_deleted_version_still_tells_where_its_content_came_from(catalog: Catalog) -> None:
    digest = sync_image(catalog, "v1", FIRST)
    push_image(catalog, NAME, "v2", "pushed")
    catalog.deletion.delete_versions(NAME, [range(1, 2)], actor="tester", now=NOW)
    assert upstreams(catalog, digest) == [FIRST.name]


def test_a_deleted_repository_tells_nothing_to_the_next_of_its_name(catalog: Catalog) -> None:
    digest = sync_image(catalog, "v1", FIRST)
    catalog.deletion.delete_repository(NAME, actor="tester", now=NOW)
    assert catalog.maintenance.uses(digest) == []
    push_image(catalog, NAME, "v1", "v1")
    assert upstreams(catalog, digest) == []


@pytest.mark.parametrize("operation", ["push", "sync", "pull-through", "import"])
def test_a_message_that_imitates_one_of_ours_names_no_remote(catalog: Catalog, operation: str) -> None:
    for number, message in enumerate(("mirror sync of evil.example/x", "evil.example/x sha256:" + "a" * 64)):
        digest = sync_image(catalog, f"v{number}", operation=operation, message=message)
        assert upstreams(catalog, digest) == []
        assert catalog.history.versions(NAME)[0].origins == ()


LONG = ", ".join(f"registry-{number}.example/team/app" for number in range(100))
FORMER = {
    "one": ("sync", "additive sync of one.example/team/app", [FIRST.name]),
    "port": ("sync", "mirror sync of localhost:5000/app:v1", ["localhost:5000/app"]),
    "pinned": ("sync", "mirror sync of one.example/team/app@sha256:" + "a" * 64, [FIRST.name]),
    "both": ("sync", f"mirror sync of one.example/app:v1@sha256:{'a' * 64}", ["one.example/app"]),
    "blend": ("sync", "mirror sync of one.example/team/app, two.example/app:v2", [FIRST.name, "two.example/app"]),
    "cut": ("sync", f"mirror sync of {LONG}"[:1000], LONG[: 1000 - len("mirror sync of ")].split(", ")[:-1]),
    "cache": ("pull-through", "http://two.example:5000/app sha256:" + "a" * 64, [SECOND.name]),
    "tagged": ("pull-through", "one.example/team/app v1", [FIRST.name]),
    "empty": ("sync", "", []),
    "prose": ("sync", "what somebody has written", []),
    "login": ("sync", "mirror sync of user:secret@one.example/app", []),
    "push": ("push", "mirror sync of evil.example/x", []),
}


def test_messages_of_an_older_home_are_read_once(
    home: Path, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = schema.ORIGINS_SINCE - 1
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:number])
        patch.setattr("catalog.lake.connection.MIGRATIONS", schema.MIGRATIONS[:number])
        patch.setattr("catalog.lake.connection.SCHEMA_VERSION", number)
        with open_again() as old, old._lake.write() as writer:
            for name, (operation, message, _) in FORMER.items():
                made = Commit(name, operation, (), "op", "admin", NOW, message=message)
                record = version_record(made, Snapshot(name, 0), Snapshot(name, 1), Delta())
                del record["origins"]  # which is younger
                writer.append("records", fit_records([record]))
    with open_again() as migrated:
        origins = {name: [one.name for one in migrated.history.version(name, 1).origins] for name in FORMER}
        assert origins == {name: remotes for name, (_, _, remotes) in FORMER.items()}
        assert (
            sum(
                step.done for step in migrated.maintenance.steps(keep_snapshots=0, grace=0) if step.name == "flush-rows"
            )
            > 0
        )
        assert {name: [one.name for one in migrated.history.version(name, 1).origins] for name in FORMER} == origins
    with open_again() as again:
        commit_to(again, "one", operation="sync", message="mirror sync of evil.example/x")
        assert [one.name for one in again.history.version("one", 1).origins] == [FIRST.name]
