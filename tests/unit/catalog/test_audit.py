"""Audit events are written whatever stands in them; one that cannot be written holds up no other."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.audit import Event
from catalog.catalog import Catalog
from catalog.lake.write_parts import write_in_parts
from oci.errors import CatalogUnusable
from oci.unicode import clean_text, plain_text

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ODD = [
    "a\0b",
    "\0",
    "half \ud83d of one",
    "line\nforged",
    "\x1b[2J",
    "\x7f\x9b",
    "\u202ereversed",
    "\u2028",
    "x" * 50_000,
]


def refusal(actor: str) -> Event:
    return Event(NOW, actor, "login", actor, "refused", actor, actor, {"sql": actor})


def test_what_clients_send_is_cleaned_and_written(catalog: Catalog) -> None:
    for text in ODD:
        catalog.events.note(refusal(text))
    assert catalog.events.flush(lambda: NOW) == len(ODD)
    assert not catalog.events.waits
    found = catalog.events.latest()
    assert {one.actor for one in found} == {clean_text(text) for text in ODD}
    assert {one.detail["sql"] for one in found} == set(ODD)
    assert clean_text("a\0b\ud83d") == "a\\x00b\\ud83d"


@given(st.text(st.characters(categories=["L", "N", "P", "S", "C", "Z"]), max_size=300))
def test_clean_text_is_one_line_of_utf_8(text: str) -> None:
    for made in (clean_text(text), plain_text(text)):
        made.encode()
        assert "\0" not in made
        assert len(made.splitlines()) <= 1


def test_an_event_that_is_refused_holds_up_no_other(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: here one that cleaning does not know of."""
    record, tried = catalog.events.record, list[int]()

    def picky(events: Sequence[Event]) -> None:
        tried.append(len(events))
        if any("poison" in event.actor and len(event.actor) > 200 for event in events):
            raise RuntimeError("cannot cast")
        record(events)

    monkeypatch.setattr(catalog.events, "record", picky)
    for number in range(100):
        catalog.events.note(refusal("poison" * 100 if number == 37 else f"user{number}"))
    assert catalog.events.flush(lambda: NOW) == 100
    assert not catalog.events.waits
    assert len(tried) < 20
    assert len(catalog.events.latest(limit=1000)) == 100
    catalog.events.note(refusal("poison" * 100))
    assert catalog.events.flush(lambda: NOW) == 1
    catalog.events.note(refusal("after"))
    assert catalog.events.flush(lambda: NOW) == 1


def test_while_the_catalogue_fails_all_wait(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []

    def failing(events: Sequence[Event]) -> None:
        tried.append(events)
        raise CatalogUnusable("no room left")

    for number in range(1000):
        catalog.events.note(refusal(f"user{number}"))
    with monkeypatch.context() as patch:
        patch.setattr(catalog.events, "record", failing)
        with pytest.raises(CatalogUnusable):
            catalog.events.flush(lambda: NOW)
    assert len(tried) <= 20
    assert catalog.events.flush(lambda: NOW) == 1000


@pytest.mark.parametrize("bad", [set(), {0}, {7}, {3, 4}, {0, 1, 2, 3, 4, 5, 6}])
def test_parts(bad: set[int]) -> None:
    written: list[int] = []

    def write(some: Sequence[int]) -> None:
        if bad & set(some):
            raise ValueError
        written.extend(some)

    assert set(write_in_parts(range(8), write)) == bad
    assert sorted(written) == sorted(set(range(8)) - bad)


def test_parts_raise_what_fails_for_all() -> None:
    def write(_some: Sequence[int]) -> None:
        raise OSError

    calls: Callable[..., object] = write_in_parts
    for count in (1, 30):
        with pytest.raises(OSError):  # it has no message
            calls(range(count), write)
