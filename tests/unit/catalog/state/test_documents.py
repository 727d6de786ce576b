"""Documents: one value that all processes see, in a file and in PostgreSQL."""

import threading
import time
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from catalog.settings import Settings
from catalog.state.documents import SharedDocument, StateDocument, open_document
from catalog.state.shared_state import SharedState
from oci.errors import CatalogUnavailable, CatalogUnusable, Conflict
from tests.postgresql import PostgresServer
from tests.servers import wait_until

Open = Callable[[], SharedState | None]
SOON = 5.0
"""Seconds in which others see a change: one, and what a busy machine takes."""
END_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'entrepot' AND datname = '{}' "
    "AND query NOT LIKE '%pg_stat_activity%'"
)


class Things(BaseModel):
    names: tuple[str, ...] = ()

    def with_name(self, name: str) -> "Things":
        return Things(names=(*self.names, name))


def adding(name: str) -> Callable[[Things], Things]:
    return lambda things: things.with_name(name)


def has(one: "StateDocument[Things]", count: int) -> Callable[[], bool]:
    return lambda: len(one.value.names) == count


def document(settings: Settings, state: SharedState | None) -> StateDocument[Things]:
    return open_document(settings, state, "things", settings.root / "things.json", Things())


def test_what_one_process_writes_another_sees(settings: Settings, open_process: Open) -> None:
    one, other = document(settings, open_process()), document(settings, open_process())
    assert (one.value, other.value) == (Things(), Things())
    stamp = other.stamp
    assert one.update(adding("a")).names == ("a",)
    assert one.value.names == ("a",), "at once"
    wait_until(lambda: other.value.names == ("a",), SOON, "the other sees it within a second")
    assert other.stamp != stamp
    assert other.value is other.value, "it is not read anew for each look"
    assert document(settings, open_process()).value.names == ("a",)


def test_no_change_is_lost_to_another(settings: Settings, open_process: Open) -> None:
    both = [document(settings, open_process()) for _ in range(2)]

    def write(which: StateDocument[Things], who: str) -> None:
        for number in range(10):
            which.update(adding(f"{who}{number}"))

    threads = [threading.Thread(target=write, args=(one, who)) for one in both for who in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(document(settings, open_process()).value.names) == 40


def test_a_change_that_is_refused_leaves_all_as_it_was(settings: Settings, open_process: Open) -> None:
    one = document(settings, open_process())
    one.update(adding("a"))

    def refuse(_things: Things) -> Things:
        raise Conflict("no")

    with pytest.raises(Conflict):
        one.update(refuse)
    assert one.update(adding("b")).names == ("a", "b")


def test_of_many_that_create_it_one_does(settings: Settings, open_process: Open) -> None:
    made: list[str] = []
    results: list[bool] = []

    def create(which: StateDocument[Things], who: str) -> None:
        def make() -> Things:
            made.append(who)
            time.sleep(0.05)
            return Things(names=(who,))

        results.append(which.create(make))

    threads = [
        threading.Thread(target=create, args=(document(settings, open_process()), who)) for who in ("a", "b", "c")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, True]
    assert document(settings, open_process()).value.names == tuple(made)


# --- in PostgreSQL alone ---


def shared(state: SharedState) -> SharedDocument[Things]:
    return SharedDocument(state, "things", Things())


def settled(open_shared: Callable[..., SharedState], **options: float) -> tuple[SharedState, SharedDocument[Things]]:
    """Return a document with the one name `a`, whose listener has been heard to listen."""
    state = open_shared(**options)
    one = shared(state)
    assert one.value == Things()
    shared(open_shared()).update(adding("a"))
    wait_until(has(one, 1), SOON, "it listens")
    return state, one


def test_a_notification_tells_a_change(open_shared: Callable[..., SharedState]) -> None:
    one, other = shared(open_shared()), shared(open_shared(every=3600))
    assert other.value == Things()
    for number in range(5):
        one.update(adding(str(number)))
        wait_until(has(other, number + 1), SOON, "notified")


def test_what_is_not_notified_is_seen_within_a_second(open_shared: Callable[..., SharedState]) -> None:
    state, one = settled(open_shared)
    with state.database.transaction() as connection:  # as somebody does by hand
        connection.execute("UPDATE documents SET version = version + 1, body = ?", ('{"names":["b"]}',))
    wait_until(lambda: one.value.names == ("b",), SOON, "looked at")


def test_changes_are_seen_after_the_server_has_ended_the_connections(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer
) -> None:
    one, other = shared(open_shared()), shared(open_shared(every=3600))
    assert other.value == Things()
    for number in range(3):
        postgres_server.execute(END_LISTENERS.format(open_shared().database.address.database))
        one.update(adding(str(number)))
        wait_until(has(other, number + 1), SOON, "seen all the same")


def test_a_restored_database_is_believed(
    open_shared: Callable[..., SharedState], postgres_server: PostgresServer
) -> None:
    """Its version may be one that this process knows with other content."""
    state, one = settled(open_shared, every=3600)
    value = one.value
    with state.database.transaction() as connection:
        connection.execute("UPDATE documents SET body = ?", ('{"names":["older"]}',))
    time.sleep(0.2)
    assert one.value is value
    postgres_server.execute(END_LISTENERS.format(state.database.address.database))
    wait_until(lambda: one.value.names == ("older",), SOON, "read again")


def test_reading_asks_the_database_nothing(open_shared: Callable[..., SharedState]) -> None:
    state = open_shared(every=3600)
    one = shared(state)
    assert one.value == Things()
    state.database.close()
    for _ in range(1000):
        assert one.value == Things()


def test_without_the_database_what_is_known_holds_for_some_seconds(
    open_shared: Callable[..., SharedState], monkeypatch: pytest.MonkeyPatch, postgres_server: PostgresServer
) -> None:
    state = open_shared(every=0.05, trusted_for=0.5)
    one = shared(state)
    assert one.value == Things()
    name = state.database.address.database
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.execute(END_LISTENERS.format(name))
    assert one.value == Things(), "no hiccup"
    with pytest.raises(CatalogUnavailable, match="has not answered"):
        wait_until(lambda: one.value != Things(), SOON, "refused")
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def answers() -> bool:
        try:
            return one.value == Things()
        except CatalogUnavailable:
            return False

    wait_until(answers, SOON, "it answers again")


@pytest.mark.parametrize("text", ["{", "[]", '{"names": 1}'])
def test_a_damaged_row_is_an_error_that_does_not_tell_it(open_shared: Callable[..., SharedState], text: str) -> None:
    state = open_shared(every=0.05)
    with state.database.transaction() as connection:
        connection.execute("INSERT INTO documents VALUES ('things', 1, ?)", (text,))
    with pytest.raises(CatalogUnusable, match="document 'things'") as refused:
        shared(state).value  # noqa: B018  # it raises
    assert "correct horse" not in str(refused.value)
    with pytest.raises(CatalogUnusable):
        shared(state).update(lambda things: things)
