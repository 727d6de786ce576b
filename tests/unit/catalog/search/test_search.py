"""The index finds what the lake holds: made whole, moved on by commits, and made anew where versions or repositories went."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.search.following import judge_changes
from catalog.search.lake_search import search_content
from catalog.search.terms import SearchHit, SearchScope, SearchTerm, parse_term
from catalog.versions.changes import AddManifest, RemoveManifest, RemoveTag, SetTag
from catalog.versions.pins import Pin
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_manifest

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def scopes(catalog: Catalog, **pinned: int) -> list[SearchScope]:
    return [SearchScope(name, pinned.get(name)) for name in catalog.snapshots.names()]


def found(hits: Iterable[SearchHit]) -> set[tuple[str, str, str, str, str]]:
    return {(one.repository, one.kind, one.tag, one.digest, one.value) for one in hits if one.kind != "package"}


def indexed(catalog: Catalog, term: SearchTerm, within: list[SearchScope]) -> list[SearchHit]:
    found = catalog.search.find(term, within, limit=1000)
    assert (found.has_packages, found.is_cut) == (True, False)
    return found.hits


def check(catalog: Catalog, **pinned: int) -> None:
    """Compare the index with the lake for terms of every kind."""
    within = scopes(catalog, **pinned)
    rows = catalog._lake.read("SELECT kind, min(digest), max(digest) FROM changes GROUP BY kind")
    digests = {str(digest) for _, *both in rows for digest in both}
    terms = [parse_term(text) for text in ("v", "1.0", "V2", "nothing", "seed=", "seed=one", "absent=x")]
    terms += [SearchTerm("digest", digest[7:cut]) for digest in digests for cut in (14, 40)]
    for term in terms:
        by_lake = search_content(catalog._lake, term, within, limit=1000)
        assert found(indexed(catalog, term, within)) == found(by_lake), term


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    push_image(catalog, "team/app", "v1.0", "one", ("base", "app one"), labels={"team": "a"})
    push_image(catalog, "team/app", "v1.1", "two", ("base", "app two"), labels={"team": "b"})
    push_image(catalog, "team/app", "v1.0", "three", ("base", "app three"))
    push_image(catalog, "other", "v2", "one", ("base", "app one"), labels={"team": "a"})
    image = stage_image(catalog, "gone", "gone", ("base",))
    commit_to(catalog, "gone", AddManifest(image), SetTag("v3", image.digest), operation_id="1")
    commit_to(catalog, "gone", RemoveTag("v3"), operation_id="2")
    commit_to(catalog, "gone", RemoveManifest(image.digest), operation_id="3")
    return catalog


def test_an_index_that_is_made_finds_what_the_lake_holds(filled: Catalog) -> None:
    filled.search.refresh()
    check(filled)
    check(filled, **{"team/app": 1, "gone": 1})
    check(filled, **{"team/app": 2, "gone": 2})


def test_commits_are_taken_over_as_they_come(filled: Catalog) -> None:
    filled.search.refresh()
    push_image(filled, "team/app", "v1.2", "four", ("base", "app four"))
    check(filled)
    push_image(filled, "new/one", "v1.0", "one", ("base", "app one"))
    commit_to(filled, "team/app", RemoveTag("v1.1"), operation_id="untag")
    check(filled)
    check(filled, **{"team/app": 3})


def test_a_search_after_a_commit_takes_one_query(filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.search.refresh()
    push_image(filled, "team/app", "v1.2", "four")
    count, read = 0, filled._lake.read

    def counted(*arguments: object) -> object:
        nonlocal count
        count += 1
        return read(*arguments)  # type: ignore[arg-type]

    within = scopes(filled)
    monkeypatch.setattr(filled._lake, "read", counted)
    for expected in (1, 1):
        indexed(filled, parse_term("v1.2"), within)
        assert count == expected


def test_versions_and_repositories_that_are_deleted_leave_the_index(filled: Catalog) -> None:
    filled.search.refresh()
    filled.deletion.delete_versions("team/app", [range(1, 3)], actor="test", now=NOW)
    assert filled.search.find(parse_term("v1"), scopes(filled), limit=10).has_packages is False
    beside = filled.search._beside
    assert beside is not None
    beside.join()
    check(filled)
    filled.deletion.delete_repository("other", actor="test", now=NOW)
    filled.search.refresh()
    check(filled)
    push_image(filled, "other", "v9", "nine")
    filled.search.refresh()
    check(filled)


def test_another_process_goes_on_where_one_was(filled: Catalog, open_again: Callable[..., Catalog]) -> None:
    filled.search.refresh()
    push_image(filled, "team/app", "v1.3", "five")
    indexed(filled, parse_term("v1.3"), scopes(filled))
    other = open_again()
    push_image(other, "third", "v1", "six")
    other.search.refresh()
    check(other)
    check(filled)


def test_a_broken_file_is_made_anew(filled: Catalog) -> None:
    filled.search.refresh()
    filled.search.file.write_bytes(b"no database at all" * 1000)
    for end in ("-wal", "-shm"):
        filled.search.file.with_name(filled.search.file.name + end).unlink(missing_ok=True)
    filled.search.refresh()
    check(filled)


def test_an_index_of_an_older_layout_is_removed_once_nobody_changes_it(filled: Catalog) -> None:
    folder = filled.search.file.parent
    left = [folder / name for name in ("search-1.sqlite", "search-1.sqlite-wal", "search-1.new")]
    kept = [folder / name for name in ("search-1.lock", "search-99.sqlite", "search-x.sqlite")]
    for file in (*left, *kept):
        file.write_bytes(b"")
        os.utime(file, (0, 0))
    used = left[1]
    used.touch()  # a process of the older release has just taken over a commit
    assert filled.search.refresh()
    assert all(file.exists() for file in left)
    os.utime(used, (0, 0))
    assert filled.search.refresh()
    assert [file.name for file in left if file.exists()] == []
    assert all(file.exists() for file in kept)
    assert filled.search.file.exists()


def test_a_lake_that_is_another_one_gets_an_index_of_its_own(filled: Catalog) -> None:
    filled.search.refresh()
    with closing(sqlite3.connect(filled.search.file)) as connection:
        connection.execute("UPDATE state SET made_at = 'before'")
        connection.execute("DELETE FROM tags")
        connection.commit()
    filled.search.refresh()
    check(filled)


def test_layers_are_shared_by_whom_one_may_see(filled: Catalog) -> None:
    filled.search.refresh()
    base, own = Digest.of(b"base"), Digest.of(b"app two")
    shared = filled.search.share([base, own], scopes(filled), apart_from="team/app", shown=1)
    assert shared is not None
    assert (shared[base].count, shared[base].names, shared[own].count) == (1, ("other",), 0)
    few = filled.search.share([base], [SearchScope("team/app", None)], apart_from="team/app", shown=1)
    assert few is not None
    assert few[base].count == 0
    pinned = filled.search.share([base], scopes(filled, gone=2), apart_from="team/app", shown=3)
    assert pinned is not None
    assert pinned[base].names == ("gone", "other")


def stage_sbom(catalog: Catalog, repository: str, subject: Descriptor, *packages: str) -> Descriptor:
    document = {"spdxVersion": "SPDX-2.3", "packages": [{"name": name, "versionInfo": "1"} for name in packages]}
    layer = {"mediaType": "application/spdx+json", **stage_blob(catalog, repository, json.dumps(document).encode())}
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": "application/spdx+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **stage_blob(catalog, repository, b"{}")},
        "layers": [layer],
        "subject": subject.to_json(),
    }
    return stage_manifest(catalog, repository, manifest, mediatypes.OCI_MANIFEST)


def test_packages_are_found_within_what_one_may_see(filled: Catalog) -> None:
    image = stage_image(filled, "team/app", "one", ("base", "app one"), labels={"team": "a"})
    sbom = stage_sbom(filled, "team/app", image, "openssl", "zlib")
    commit_to(filled, "team/app", AddManifest(image), AddManifest(sbom), operation_id="sbom")
    filled.search.refresh()
    within = scopes(filled)
    hits = indexed(filled, parse_term("package:OpenSSL"), within)
    assert [(one.repository, one.digest, one.value) for one in hits] == [("team/app", image.digest, "openssl")]
    assert [one.kind for one in indexed(filled, parse_term("zlib"), within)] == ["package"]
    assert (
        indexed(filled, parse_term("package:openssl"), [SearchScope("team/app", 1), SearchScope("other", None)]) == []
    )
    assert indexed(filled, parse_term("package:curl"), within) == []


def test_a_pinned_scope_and_the_index_agree_after_a_pin(filled: Catalog) -> None:
    filled.pins.add(Pin("team/app", 1, "", "test", NOW))
    filled.search.refresh()
    check(filled)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (set(), set())),
        ([(6, "inserted_into_table:3", '{"versions": {"a": 4}}')], ({"a"}, set())),
        ([(6, "inserted_into_table:9", "")], (set(), set())),
        ([(6, "inlined_insert:3,inlined_delete:3", '{"versions": {"a": 4}, "squashed": {"a": [2]}}')], ({"a"}, {"a"})),
        ([(6, "deleted_from_table:3", '{"ended": {"b": 4}}')], (set(), {"b"})),
        ([(7, "inserted_into_table:3", '{"versions": {"a": 4}}')], None),
        ([(6, "inserted_into_table:3", "")], None),
        ([(6, "deleted_from_table:3", '{"versions": {"a": 4}}')], None),
    ],
)
def test_changes_are_judged_by_what_commits_tell(
    rows: list[tuple[int, str, str]], expected: tuple[set[str], set[str]] | None
) -> None:
    judged = judge_changes(rows, 5, "3")
    assert (judged and tuple(map(set, judged))) == expected


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("package: openssl", SearchTerm("package", "openssl")),
        ("1f2e3d4", SearchTerm("digest", "1f2e3d4")),
        ("a.b=c", SearchTerm("label", "c", "a.b")),
        ("alpine", SearchTerm("text", "alpine")),
    ],
)
def test_terms_are_read(text: str, term: SearchTerm) -> None:
    assert parse_term(text) == term
