"""The documented views: their columns, what they hold as of a time and of a version, and that they are the lake's own truth."""

import pytest

from catalog.catalog import open_catalog
from catalog.query.view_columns import COLUMNS, MEANINGS
from catalog.query.views import AsOf
from catalog.units import format_time
from catalog.versions.snapshot import Snapshot
from tests.questions.conftest import Home


def test_columns_are_those_documented(home: Home) -> None:
    assert COLUMNS.keys() == MEANINGS.keys()
    found: dict[str, list[tuple[str, str]]] = {}
    for row in home.ask(
        "SELECT * FROM information_schema.columns WHERE table_schema = 'questions' ORDER BY table_name, ordinal_position"
    ):
        found.setdefault(row["table_name"], []).append((row["column_name"], row["data_type"]))
    assert found == {view: [(one.name, one.kind) for one in columns] for view, columns in COLUMNS.items()}


@pytest.mark.parametrize("name", ["team/app", "team/multi", "mirrored/far"])
def test_every_version_is_what_its_snapshot_says(home: Home, name: str) -> None:
    with open_catalog(home.settings) as catalog:
        found = [catalog.snapshots.get(name, row.number) for row in catalog.history.versions(name)]
    assert found
    for snapshot in found:
        assert seen(home, AsOf(repository=name, version=snapshot.version)) == told(snapshot)


def seen(home: Home, as_of: AsOf) -> tuple[dict[str, str], set[str], dict[str, int]]:
    """Tags, manifests and blobs as the views tell them."""
    rows = home.ask(
        """SELECT 'tag' AS kind, tag, digest, 0 AS size FROM tags
        UNION ALL SELECT 'manifest', '', digest, 0 FROM manifests
        UNION ALL SELECT kind, tag, digest, size FROM members WHERE kind = 'blob'""",
        as_of=as_of,
    )
    tags = {row["tag"]: row["digest"] for row in rows if row["kind"] == "tag"}
    manifests = {row["digest"] for row in rows if row["kind"] == "manifest"}
    return tags, manifests, {row["digest"]: row["size"] for row in rows if row["kind"] == "blob"}


def told(snapshot: Snapshot) -> tuple[dict[str, str], set[str], dict[str, int]]:
    """The same of a snapshot."""
    return (
        {tag: str(digest) for tag, digest in snapshot.tags.items()},
        set(map(str, snapshot.manifests)),
        {str(digest): size for digest, size in snapshot.blobs.items()},
    )


def test_as_of_a_time(home: Home) -> None:
    then = AsOf(moment=home.moment)
    one = home.images["one"].digest
    sql = "SELECT repository, tag, digest FROM tags ORDER BY ALL"
    assert [tuple(row.values()) for row in home.ask(sql, as_of=then)] == [
        ("team/app", "latest", one),
        ("team/app", "old", one),
        ("team/app", "v1", one),
        ("team/web", "v1", one),
    ]
    by_macro = "SELECT repository, tag, digest FROM tags_at($at::TIMESTAMPTZ) ORDER BY ALL"
    assert home.ask(by_macro, {"at": home.moment.isoformat()}) == home.ask(sql, as_of=then)
    assert home.ask("SELECT max(number) AS n FROM versions WHERE repository = 'team/app'", as_of=then) == [{"n": 3}]
    assert home.ask("SELECT count(*) AS n FROM events WHERE happened_at > moment()", as_of=then) == [{"n": 0}]
    assert home.ask("SELECT moment() AS now", as_of=then) == [{"now": format_time(home.moment)}]


def test_of_a_version_by_macro_beside_the_present(home: Home) -> None:
    sql = """SELECT old.tag FROM tags_of('team/app', 3) old
        ANTI JOIN (SELECT tag FROM tags WHERE repository = 'team/app') USING (tag)"""
    assert home.ask(sql) == [{"tag": "old"}]


def test_a_macro_for_each_view_that_follows_from_versions(home: Home) -> None:
    views = ("repositories", "versions", "changes", "tags", "manifests", "images", "descriptors", "layers", "referrers",
             "members", "usage")  # fmt: skip
    counts = " UNION ALL ".join(
        f"""SELECT '{view}' AS view, (SELECT count(*) FROM {view}) AS now, (SELECT count(*) FROM {view}_at(now())) AS at,
        (SELECT count(*) FROM {view}_of('team/none', 1)) AS of_nothing"""
        for view in views
    )
    rows = home.ask(counts)
    assert {row["view"] for row in rows} == set(views)
    assert [row for row in rows if not row["now"] or row["at"] != row["now"] or row["of_nothing"]] == []


def test_ducklake_s_own_time_travel_stays(home: Home) -> None:
    (newest,) = home.ask("SELECT max(snapshot_id) AS n FROM lake.snapshots()")
    (now,) = home.ask("SELECT count(*) AS n FROM records")
    assert home.ask(f"SELECT count(*) AS n FROM records AT (VERSION => {newest['n']})") == [now]


def test_layers_and_blobs(home: Home) -> None:
    two = home.images["two"]
    rows = home.ask(
        "SELECT position, digest, size FROM layers WHERE manifest = $m ORDER BY position", {"m": two.digest}
    )
    assert [(row["position"], row["digest"], row["size"]) for row in rows] == [
        (place, layer.digest, layer.size) for place, layer in enumerate(two.layers)
    ]
    (far,) = home.ask("SELECT held FROM blobs WHERE digest = $d", {"d": home.images["far"].layers[0].digest})
    (near,) = home.ask("SELECT held, ingested_at FROM blobs WHERE digest = $d", {"d": two.layers[0].digest})
    assert (far["held"], near["held"], near["ingested_at"] > "2020") == (False, True, True)


def test_referrers_by_subject_and_by_tag(home: Home) -> None:
    rows = home.ask("SELECT * FROM referrers WHERE repository = 'team/app'")
    two, one = home.images["two"].digest, home.images["one"].digest
    assert {(row["subject"], row["kind"], row["via"], row["is_signature"]) for row in rows} == {
        (two, "cosign-signature", "tag", True),
        (two, "cosign-signature", "subject", True),
        (one, "sbom", "subject", False),
    }
