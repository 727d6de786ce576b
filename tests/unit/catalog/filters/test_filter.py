"""A filter as a whole: patterns, conditions, the newest of what is left, and how little has to be looked at for that."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from catalog.filters.conditions import Conditions
from catalog.filters.facts import Facts, facts_of
from catalog.filters.filter import Filter
from catalog.filters.tags import Line, NewestBy, Selection, TagFilter
from oci.digest import Digest
from oci.kinds import signature_tag

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def facts_by_tag(days: Mapping[str, int], *, signed: tuple[str, ...] = ()) -> dict[str, Facts]:
    """Images that were created so many days ago; a negative number: nothing tells."""
    return {
        tag: facts_of(
            Digest.of(tag.encode()),
            kind="image",
            created=(NOW - timedelta(days=ago)).isoformat() if ago >= 0 else "",
            signed=tag in signed,
        )
        for tag, ago in days.items()
    }


def select(wanted: Filter, found: Mapping[str, Facts]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    pointing = {tag: one.digest for tag, one in found.items()}
    selection = wanted.select(pointing, {one.digest: one for one in found.values()}, NOW)
    return selection.kept, selection.dropped


def test_patterns_come_first_and_the_newest_last() -> None:
    found = facts_by_tag({"1.0": 4, "1.1": 3, "1.2": 2, "1.3-rc": 1, "edge": 0}, signed=("1.0", "1.1", "1.3-rc"))
    wanted = Filter(TagFilter(("semver:*",), newest=1), Conditions(signed=True))
    kept, dropped = select(wanted, found)
    assert kept == ("1.1",)
    assert dropped == {
        "1.0": "not among the 1 newest",
        "1.2": "not signed",
        "1.3-rc": "matches no include",
        "edge": "matches no include",
    }


@pytest.mark.parametrize(
    ("line", "kept"),
    [("repository", ("2.0", "edge")), ("major", ("1.1", "1.2", "2.0")), ("minor", ("1.1", "1.2", "1.1.1", "2.0"))],
)
def test_the_newest_by_creation(line: Line, kept: tuple[str, ...]) -> None:
    found = facts_by_tag({"1.1": 3, "1.2": 4, "1.1.1": 5, "2.0": 2, "edge": 1, "old": -1})
    chosen, dropped = select(Filter(TagFilter(newest=2, line=line, newest_by="created")), found)
    assert chosen == kept
    if line == "repository":
        assert dropped["old"] == "creation unknown, so not among the newest"
        assert dropped["1.1"] == "not among the 2 newest, by creation"
    else:
        assert dropped["edge"] == "not a version, so not among the newest"


def test_of_two_that_were_created_at_once_the_higher_version_is_newer() -> None:
    found = facts_by_tag({"1.10": 1, "1.9": 1, "latest": 1})
    assert select(Filter(TagFilter(newest=1, newest_by="created")), found)[0] == ("1.10",)


def test_cosigns_tags_are_no_candidates_where_content_decides() -> None:
    tag = signature_tag(Digest.of(b"x"))
    found = facts_by_tag({"1.0": 1, tag: 0})
    assert select(Filter(), found)[0] == ("1.0", tag)
    kept, dropped = select(Filter(TagFilter(newest=1, newest_by="created")), found)
    assert (kept, dropped[tag]) == (("1.0",), "comes only with the image it belongs to")


def test_what_is_named_is_judged_and_not_counted() -> None:
    found = facts_by_tag({"1.0": 1, "1.1": 2, "1.2": 3}, signed=("1.0", "1.1"))
    wanted = Filter(TagFilter(newest=1), Conditions(signed=True)).of_named
    selection = wanted.settle(Selection(dict.fromkeys(found, "named")), found, NOW)
    assert dict(selection.rules) == {"1.0": "named, signed", "1.1": "named, signed"}
    assert dict(selection.dropped) == {"1.2": "not signed"}


@pytest.mark.parametrize(
    ("conditions", "manifests", "configs"),
    [
        (Conditions(), False, False),
        (Conditions(signed=True), False, False),
        (Conditions(annotations=("a",)), True, False),
        (Conditions(labels=("a",)), True, True),
        (Conditions(types=("helm",)), True, True),
        (Conditions(older_than="1d"), True, True),
    ],
)
def test_what_has_to_be_read(conditions: Conditions, *, manifests: bool, configs: bool) -> None:
    wanted = Filter(conditions=conditions)
    assert (wanted.asks_manifests, wanted.asks_configs) == (manifests, configs)
    assert Filter(TagFilter(newest=1, newest_by="created"), conditions).asks_configs


def judged_one_by_one(wanted: Filter, found: Mapping[str, Facts], *, ahead: int = 0) -> tuple[list[str], list[str]]:
    """Select as a sync does, and say what it has looked at."""
    candidates = wanted.candidates(found)
    known: dict[str, Facts] = {}
    verdicts: dict[str, bool] = {}
    while tags := wanted.to_judge(candidates.kept, verdicts, ahead=ahead):
        known |= {tag: found[tag] for tag in tags}
        verdicts |= {tag: wanted.conditions.judge(found[tag], NOW)[0] for tag in tags}
    return list(wanted.settle(candidates, known, NOW).kept), list(known)


@pytest.mark.parametrize(
    ("newest", "newest_by", "conditions", "looked_at"),
    [
        (None, "version", Conditions(), []),
        (1, "version", Conditions(), []),
        (None, "version", Conditions(signed=True), ["1.0", "1.1", "1.2", "2.0", "2.1"]),
        (1, "created", Conditions(), ["1.0", "1.1", "1.2", "2.0", "2.1"]),
        (1, "version", Conditions(signed=True), ["2.1", "2.0"]),
        (2, "version", Conditions(signed=True), ["2.0", "2.1", "1.2", "1.1"]),
    ],
)
def test_no_more_is_looked_at_than_decides(
    newest: int | None, newest_by: NewestBy, conditions: Conditions, looked_at: list[str]
) -> None:
    found = facts_by_tag({"1.0": 5, "1.1": 4, "1.2": 3, "2.0": 2, "2.1": 1}, signed=("1.0", "1.1", "2.0"))
    wanted = Filter(TagFilter(newest=newest, newest_by=newest_by), conditions)
    kept, seen = judged_one_by_one(wanted, found)
    assert seen == looked_at
    assert tuple(kept) == select(wanted, found)[0]


def test_looking_ahead_takes_fewer_rounds() -> None:
    found = facts_by_tag({f"1.{number}": number for number in range(20)}, signed=("1.0",))
    wanted = Filter(TagFilter(newest=1), Conditions(signed=True))
    assert len(wanted.to_judge(tuple(found), {}, ahead=8)) == 8
    assert judged_one_by_one(wanted, found, ahead=8)[0] == ["1.0"]


def test_what_nothing_is_known_of_is_not_taken() -> None:
    wanted = Filter(conditions=Conditions(labels=("!internal",)))
    selection = wanted.settle(Selection({"1.0": "every tag is included"}), {}, NOW)
    assert (selection.kept, selection.dropped) == ((), {"1.0": "nothing is known of it"})
