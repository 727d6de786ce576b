"""Homes of releases that took a digest for a right: who may go on using what was fetched on demand."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import catalog.lake.connection
from catalog.blobs.ingest_queue import Ingest
from catalog.blobs.opening import open_index
from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from oci.digest import Digest

BEFORE = 11
"""The schema of those releases."""

TIMES = {name: datetime(2026, 1, number + 1, tzinfo=UTC) for number, name in enumerate("abcd")}
ALONE, CLAIMED, OPEN, BESIDE, CHOSEN = (
    Digest.of(text.encode()) for text in ("alone", "claimed", "open", "beside", "chosen")
)


@pytest.fixture
def former(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`a`: a cache of ever.example/a, public; `b`: what was pushed, private; `c`: a cache of evil.example/c, public;
    `d`: chosen from `a`."""
    monkeypatch.setattr(catalog.lake.connection, "SCHEMA_VERSION", BEFORE)
    lake = Lake(home / "catalog" / "catalog.sqlite", memory="256MB", threads=1, lock_timeout=10)
    with lake.write() as writer:
        for name, operation, message in (
            ("a", "pull-through", f"ever.example/a {ALONE}"),
            ("b", "push", ""),
            ("c", "pull-through", f"evil.example/c {CLAIMED}"),
            ("d", "curate", "chosen from a"),
        ):
            writer.execute(
                "INSERT INTO records BY NAME SELECT ? AS repository, 1 AS version, 0 AS base, 'add' AS action, "
                "'version' AS kind, ? AS operation, ? AS message, '' AS actor, ? AS operation_id, ? AS created_at, "
                "0 AS tags, 0 AS manifests, 1 AS blobs, 5 AS size_bytes, 1 AS added, 0 AS removed",
                [name, operation, message, name, TIMES[name]],
            )
            private = name == "b"
            writer.execute(
                "INSERT INTO distributions BY NAME SELECT ? AS path, ? AS repository, ? AS private, '' AS description, "
                "? AS created_at, ? AS updated_at",
                [name, name, private, TIMES[name], TIMES[name]],
            )
        members = {"a": [ALONE, OPEN, BESIDE, CHOSEN], "b": [CLAIMED, BESIDE], "c": [CLAIMED, OPEN], "d": [CHOSEN]}
        for name, digests in members.items():
            for digest in digests:
                writer.execute(
                    "INSERT INTO records BY NAME SELECT ? AS repository, 1 AS version, 'add' AS action, 'blob' AS kind, "
                    "'' AS tag, ? AS digest, 5 AS size, '' AS media_type, '' AS artifact_type, '' AS subject",
                    [name, digest],
                )
        # `c` named what was held, and `a` what `b` held: neither got a row.
        for digest, remote, name in (
            (ALONE, "ever.example/a", "a"), (OPEN, "ever.example/a", "a"), (CHOSEN, "ever.example/a", "a"),
            (OPEN, "evil.example/c", "c"),
        ):  # fmt: skip
            row = [digest, 5, remote, "on_demand", TIMES[name]]
            writer.execute("INSERT INTO sources VALUES (?, ?, ?, ?, ?)", row)
    lake.close()
    held = open_index(home / "catalog" / "holdings.sqlite")
    for digest in (ALONE, CLAIMED, OPEN, BESIDE, CHOSEN):
        held.ingest([Ingest(digest, 5, lambda: None, "x", "", 1.0)], lambda _: None)
        held.end_links("x")
    with held.database.transaction() as connection:
        connection.execute("UPDATE blobs SET taken_by = NULL")
    held.database.close()
    monkeypatch.undo()
    return home


@pytest.mark.embedded
def test_sources_go_to_the_repositories_that_left_blobs_there(former: Path, open_again: Callable[[], Catalog]) -> None:
    opened = open_again()
    found = {
        (name, source.remote.host)
        for digest in (ALONE, OPEN, CLAIMED, BESIDE, CHOSEN)
        for name, sources in opened.sources.of_all(digest).items()
        for source in sources
    }
    assert found == {("a", "ever.example"), ("c", "evil.example"), ("d", "ever.example")}
    assert opened.sources.of_all(CLAIMED).keys() == {"c"}, "named without a proof, and what was pushed stays as it is"
    assert opened.sources.of_all(CHOSEN).keys() == {"a", "d"}


@pytest.mark.embedded
def test_what_nobody_is_robbed_by_stays_usable(former: Path, open_again: Callable[[], Catalog]) -> None:
    for _ in range(2):
        opened = open_again()
        usable = {
            (name, digest)
            for name in "abcd"
            for digest in (ALONE, CLAIMED, OPEN, BESIDE, CHOSEN)
            if opened.rights.usable_size(opened.snapshots.get(name), digest) is not None
        }
        assert usable == {
            ("a", ALONE), ("a", OPEN), ("c", OPEN), ("b", CLAIMED), ("b", BESIDE), ("a", CHOSEN), ("d", CHOSEN),
        }  # fmt: skip
        opened.maintenance.sweep(grace=-1)
