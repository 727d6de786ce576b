"""What a replication makes of lists that lack paths, of upstreams of another kind, and of what only a login reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog, open_catalog
from catalog.distributions.records import Distribution
from catalog.distributions.replication import PathTaken, UpstreamChanged
from catalog.settings import read_settings
from flows.replicate.procedure import ReplicationFailed
from flows.runs.failures import MAX_UNAVAILABLE
from flows.sync_many.request import DEFAULT_AT_ONCE
from oci.errors import RemoteCorrupt, RemoteRefused
from oci.pack import pack_image
from tests.flows.replicate_once import Lists, actions, logged_in, replicate, stores_of
from tests.upstream import Reply, Upstream

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = ("team/a", "team/b", "team/c")


@contextmanager
def served(lists: Lists, *names: str) -> Iterator[Upstream]:
    with Upstream(stores_of(*(names or NAMES))) as upstream:
        upstream.faults.append(lists)
        yield upstream


@contextmanager
def catalog_for(folder: Path, upstream: Upstream, login: str = "reader:secret") -> Iterator[Catalog]:
    """A home with a login for the upstream; empty: with none."""
    settings = read_settings(home=folder / "entrepot", upstream_attempts=1)
    with open_catalog(logged_in(settings, upstream, login) if login else settings) as opened:
        yield opened


def pulp(*paths: str, **fields: object) -> dict[str, list[dict[str, object]]]:
    return {"default": [{"base_path": path, **fields} for path in paths]}


def paths(catalog: Catalog) -> dict[str, bool]:
    """What is served here, and whether it is private."""
    return {one.path: one.private for one in catalog.distributions.all()}


# --- kinds ---


def test_a_pulp_whose_api_is_hidden_is_not_taken_for_a_plain_registry(tmp_path: Path) -> None:
    lists = Lists(catalog=["team/a"], pulp=pulp(*NAMES, private=True))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        assert replicate(catalog, upstream).kind == "pulp"
        assert paths(catalog) == dict.fromkeys(NAMES, True)
        lists.hidden = "/pulp/"
        for fields in ({}, {"kind": "catalog"}, {"dry_run": True}):
            with pytest.raises(UpstreamChanged, match=r"plain registry.*3 path.*as a Pulp.*--accept-change"):
                replicate(catalog, upstream, **fields)
        assert paths(catalog) == dict.fromkeys(NAMES, True)

        accepted = replicate(catalog, upstream, accept_change=True)
        assert (accepted.kind, actions(accepted)) == (
            "catalog",
            {"team/a": "updated", "team/b": "kept", "team/c": "kept"},
        )
        assert paths(catalog) == {"team/a": False, "team/b": True, "team/c": True}
        assert actions(replicate(catalog, upstream)) == {
            "team/a": "unchanged",
            "team/b": "removed",
            "team/c": "removed",
        }


def test_that_a_catalog_was_read_is_said(tmp_path: Path) -> None:
    with served(Lists(catalog=list(NAMES))) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        (note,) = replicate(catalog, upstream).notes
        assert "neither an Entrepôt's API nor a Pulp's" in note
        assert not replicate(catalog, upstream, kind="catalog").notes


def test_homes_of_earlier_releases_have_not_recorded_the_kind(tmp_path: Path) -> None:
    from dataclasses import replace

    lists = Lists(catalog=["team/a"], pulp=pulp(*NAMES, private=True))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        replicate(catalog, upstream)
        catalog.distributions.switch(
            [replace(one, replica_mark="") for one in catalog.distributions.all()], [], actor="test"
        )
        lists.hidden = "/pulp/"
        with pytest.raises(UpstreamChanged, match="as an Entrepôt or a Pulp"):
            replicate(catalog, upstream)
        lists.hidden = ""
        assert set(actions(replicate(catalog, upstream)).values()) == {"unchanged"}
        assert all(one.replica_mark.startswith("pulp:") for one in catalog.distributions.all())


def test_a_pulp_without_container_distributions_is_a_pulp_nevertheless(tmp_path: Path) -> None:
    lists = Lists(catalog=list(NAMES), pulp={})
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        with pytest.raises(RemoteRefused, match=r"is a Pulp.*--pulp-api"):
            replicate(catalog, upstream)
        assert actions(replicate(catalog, upstream, kind="catalog")) == dict.fromkeys(NAMES, "added")


# --- Pulp's places ---


def test_a_pulp_with_domains(tmp_path: Path) -> None:
    names = ("default/team/a", "east/team/a", "east/b")
    lists = Lists(
        domains=True, pulp={"default": [{"base_path": "team/a"}], "east": [{"base_path": "team/a"}, {"base_path": "b"}]}
    )
    with served(lists, *names) as upstream, catalog_for(tmp_path, upstream) as catalog:
        assert actions(replicate(catalog, upstream)) == dict.fromkeys(names, "added")
        lists.hidden = "/pulp/default/api/v3/domains/"  # whose list not every account may see
        partly = replicate(catalog, upstream)
        assert actions(partly) == {"default/team/a": "unchanged", "east/team/a": "kept", "east/b": "kept"}
        assert "its domains cannot be listed" in partly.notes[0]
        one = replicate(catalog, upstream, kind="pulp", pulp_api="/pulp/default/api/v3/", include=("default/**",))
        assert actions(one)["default/team/a"] == "unchanged"


def test_a_pulp_at_another_root_is_found_where_the_operator_says(tmp_path: Path) -> None:
    lists = Lists(root="/content/", pulp=pulp(*NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        found = replicate(catalog, upstream, kind="pulp", pulp_api="/content/api/v3/")
        assert (found.kind, actions(found)) == ("pulp", dict.fromkeys(NAMES, "added"))


def test_a_bad_filter_is_told_with_the_reason_of_the_pulp(tmp_path: Path) -> None:
    with (
        served(Lists(pulp=pulp(*NAMES))) as upstream,
        catalog_for(tmp_path, upstream) as catalog,
        pytest.raises(RemoteRefused, match=r"answered 400: q: Syntax error in expression: 'bad'\."),
    ):
        replicate(catalog, upstream, kind="pulp", pulp_filter="bad")


# --- lists that lack paths ---


def test_a_catalog_that_is_cut_without_a_word_is_read_to_its_end(tmp_path: Path) -> None:
    lists = Lists(catalog=list(NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        replicate(catalog, upstream)
        lists.cap = 1  # it sends no more, and no Link
        assert actions(replicate(catalog, upstream)) == dict.fromkeys(NAMES, "unchanged")


def test_a_catalog_that_does_not_say_whether_it_goes_on_removes_nothing(tmp_path: Path) -> None:
    lists = Lists(catalog=list(NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        replicate(catalog, upstream)
        lists.catalog = ["team/a"]
        upstream.faults.insert(0, lambda seen, _good: Reply(400, b"{}") if "last=" in seen.query else None)
        assert actions(replicate(catalog, upstream)) == {"team/a": "unchanged", "team/b": "kept", "team/c": "kept"}
        upstream.faults.pop(0)
        assert actions(replicate(catalog, upstream)) == {
            "team/a": "unchanged",
            "team/b": "removed",
            "team/c": "removed",
        }


@pytest.mark.parametrize("what", ["count", "nothing"])
def test_a_list_that_may_lack_paths_removes_none(tmp_path: Path, what: str) -> None:
    lists = Lists(pulp=pulp(*NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        replicate(catalog, upstream)
        lists.pulp, lists.count = (pulp("team/a"), 3) if what == "count" else (pulp(), 0)
        again = replicate(catalog, upstream)
        assert {"team/b", "team/c"} <= {path for path, action in actions(again).items() if action == "kept"}
        assert set(paths(catalog)) == set(NAMES)


def test_a_list_that_breaks_off_is_no_missing_api(tmp_path: Path) -> None:
    lists = Lists(catalog=["team/a"], pulp=pulp(*NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:

        def second_page_is_gone(seen, good):  # type: ignore[no-untyped-def]  # a fault of the upstream
            if "offset=1" in seen.query:
                return Reply(404, b"{}")
            if "distributions/container" in seen.path:
                return Reply(200, b'{"count": 3, "next": "?offset=1&limit=100", "results": []}')
            return None

        upstream.faults.insert(0, second_page_is_gone)
        with pytest.raises(RemoteCorrupt, match="breaks off its list"):
            replicate(catalog, upstream)


def test_what_a_login_has_shown_does_not_go_when_the_login_does(tmp_path: Path) -> None:
    lists = Lists(entrepot=[{"path": name} for name in NAMES], secret={"team/b"})
    with served(lists) as upstream:
        with catalog_for(tmp_path, upstream) as catalog:
            replicate(catalog, upstream)
        with catalog_for(tmp_path, upstream, "") as catalog:
            lists.entrepot = [{"path": "team/a"}, {"path": "team/c"}]
            assert actions(replicate(catalog, upstream))["team/b"] == "kept"
        with catalog_for(tmp_path, upstream, "another:secret") as catalog:
            assert actions(replicate(catalog, upstream, include=("team/a",)))["team/b"] == "kept"
        with catalog_for(tmp_path, upstream) as catalog:
            replicate(catalog, upstream, dry_run=True)
            assert "team/b" in paths(catalog)
            assert actions(replicate(catalog, upstream))["team/b"] == "removed"


# --- privacy ---


@pytest.mark.parametrize("kind", ["catalog", "pulp"])
def test_what_only_a_login_reads_is_private_here(tmp_path: Path, kind: str) -> None:
    lists = Lists(secret={"team/b"}, **({"catalog": list(NAMES)} if kind == "catalog" else {"pulp": pulp(*NAMES)}))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        result = replicate(catalog, upstream)
        assert paths(catalog) == {"team/a": False, "team/b": True, "team/c": False}
        assert "team/b is private here: upstream gives it to a login alone" in result.notes
        assert len([one for one in lists.asked if one.name == "team/a"]) == 1  # one question for each path
        lists.secret = {"team/c"}
        replicate(catalog, upstream)
        assert paths(catalog) == {"team/a": False, "team/b": False, "team/c": True}
        replicate(catalog, upstream, privacy="listed")
        assert set(paths(catalog).values()) == {False}
        replicate(catalog, upstream, privacy="private")
        assert set(paths(catalog).values()) == {True}


def test_an_entrepot_is_asked_once_for_all_paths_what_everybody_sees(tmp_path: Path) -> None:
    lists = Lists(entrepot=[{"path": name, "private": False} for name in NAMES], secret={"team/b"})
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:
        replicate(catalog, upstream)
        assert paths(catalog) == {"team/a": False, "team/b": True, "team/c": False}
        assert [one.path for one in upstream.seen].count("/api/v1/distributions") == 2


def test_without_a_login_nothing_is_asked(tmp_path: Path) -> None:
    lists = Lists(catalog=list(NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        replicate(catalog, upstream)
        assert set(paths(catalog).values()) == {False}
        before = len(upstream.seen)
        upstream.forget()
        replicate(catalog, upstream)
        assert len([one for one in upstream.seen if one.route == "manifest"]) == len(NAMES)
        assert before > len(upstream.seen)


def test_an_upstream_that_cannot_answer_who_may_pull_fails_the_path(tmp_path: Path) -> None:
    lists = Lists(catalog=list(NAMES))
    with served(lists) as upstream, catalog_for(tmp_path, upstream) as catalog:

        def broken(seen, good):  # type: ignore[no-untyped-def]  # a fault of the upstream
            return Reply(503, b"") if seen.name == "team/b" and "authorization" not in seen.headers else None

        upstream.faults.insert(0, broken)
        with pytest.raises(ReplicationFailed, match="team/b"):
            replicate(catalog, upstream)
        assert paths(catalog) == {}
        skipped = replicate(catalog, upstream, on_error="skip")
        assert actions(skipped) == {"team/a": "added", "team/b": "failed", "team/c": "added"}


# --- one path that fails ---


def test_a_path_that_cannot_be_replicated_is_skipped_by_name(tmp_path: Path) -> None:
    lists = Lists(catalog=[*NAMES, "team/none"])
    with served(lists) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        with pytest.raises(ReplicationFailed, match="team/none"):
            replicate(catalog, upstream)
        skipped = replicate(catalog, upstream, on_error="skip")
        assert actions(skipped) == {**dict.fromkeys(NAMES, "added"), "team/none": "failed"}
        assert set(skipped.failed) == {"team/none"}
        upstream.fail(404, only="team/b/tags")
        again = replicate(catalog, upstream, on_error="skip")
        assert actions(again)["team/b"] == "failed"
        assert set(paths(catalog)) == set(NAMES)  # it is served as it was
        upstream.fail(404, route="tags")
        with pytest.raises(ReplicationFailed):  # nothing but failures is left
            replicate(catalog, upstream, on_error="skip")


def test_a_path_that_serves_something_of_our_own_is_skipped_by_name(tmp_path: Path) -> None:
    with served(Lists(catalog=list(NAMES))) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        catalog.distributions.put(Distribution("team/b", "mine", NOW, NOW), actor="test")
        with pytest.raises(PathTaken, match="team/b"):
            replicate(catalog, upstream)
        skipped = replicate(catalog, upstream, on_error="skip")
        assert actions(skipped) == {"team/a": "added", "team/b": "failed", "team/c": "added"}
        assert catalog.distributions.get("team/b").repository == "mine"


def test_a_path_of_which_a_tag_was_skipped_is_tried_again(tmp_path: Path) -> None:
    lists = Lists(entrepot=[{"path": "team/a", "content": "one"}])
    with served(lists) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        store = upstream.repositories["team/a"]
        store.put_tag("v2", pack_image(store, [{"file": "two"}]).digest)
        lost = store.manifests.pop(store.tagged["v2"])
        first = replicate(catalog, upstream, on_error="skip")
        assert (actions(first), list(catalog.snapshots.get("team/a").tags)) == ({"team/a": "added"}, ["v1"])
        store.manifests[lost.digest] = lost
        assert actions(replicate(catalog, upstream, on_error="skip")) == {"team/a": "updated"}
        upstream.forget()
        assert actions(replicate(catalog, upstream, on_error="skip")) == {"team/a": "unchanged"}
        assert not [seen for seen in upstream.seen if seen.name]  # the list says that nothing has changed


def test_what_upstream_makes_private_is_private_at_once_whatever_fails(tmp_path: Path) -> None:
    lists = Lists(entrepot=[{"path": name} for name in NAMES])
    with served(lists) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        replicate(catalog, upstream)
        lists.entrepot = [{"path": name, "private": name == "team/a"} for name in NAMES]
        upstream.fail(500, only="team/b/")
        replicate(catalog, upstream, dry_run=True, include=["team/a"])
        assert not paths(catalog)["team/a"]
        with pytest.raises(ReplicationFailed):
            replicate(catalog, upstream)
        assert paths(catalog) == {"team/a": True, "team/b": False, "team/c": False}


def test_an_upstream_that_does_not_answer_is_not_tried_for_every_path(tmp_path: Path) -> None:
    names = [f"many/path-{number:03}" for number in range(40)]
    with served(Lists(catalog=names), *names) as upstream, catalog_for(tmp_path, upstream, "") as catalog:
        upstream.fail(503, route="tags")
        with pytest.raises(ReplicationFailed) as failed:
            replicate(catalog, upstream)
        assert len(failed.value.detail["failed"]) == 40  # type: ignore[arg-type]  # a mapping
        tried = {seen.name for seen in upstream.seen if seen.route == "tags"}
        assert MAX_UNAVAILABLE <= len(tried) < MAX_UNAVAILABLE + DEFAULT_AT_ONCE
