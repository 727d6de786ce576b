"""Several sources read as one: which of them is asked for a tag, and what is remembered of where content came from."""

from collections.abc import Mapping

from catalog.filters.tags import Selection
from flows.sync.sources import Candidates, join_candidates


def listed(*tags: str, dropped: Mapping[str, str] | None = None) -> Candidates:
    left = dropped or {}
    return Candidates(Selection(dict.fromkeys(tags, "kept"), left), frozenset([*tags, *left]))


def test_the_first_that_has_a_tag_wins_whether_it_is_selected_there_or_not() -> None:
    joined = join_candidates([("one", listed("a", "b", dropped={"c": "too old"})), ("two", listed("b", "c", "d"))])
    assert joined.places == {"a": (0,), "b": (0,), "d": (1,)}
    assert joined.candidates.selection.kept == ("a", "b", "d")
    assert joined.candidates.selection.dropped == {
        "two:b": "one comes first and has this tag",
        "two:c": "one comes first and has this tag",
        "c": "too old",
    }
    assert joined.candidates.listed == frozenset("abcd")


def test_a_remote_that_was_not_listed_is_asked_for_the_tag_before_the_next() -> None:
    named = Candidates(Selection({"a": "named"}), may_lack=frozenset({"a"}))
    pinned = Candidates(Selection({"b": "named by the remote"}))
    joined = join_candidates([("one", named), ("two", pinned), ("three", listed("a", "b"))])
    assert joined.places == {"a": (0, 2), "b": (1,)}
    assert joined.candidates.listed is None
    assert joined.candidates.may_lack == frozenset("a")
    assert joined.candidates.selection.dropped == {"three:b": "two comes first and has this tag"}
