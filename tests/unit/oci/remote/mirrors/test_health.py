"""Places that fail are asked last for a while, longer with each failure, and come back."""

from oci.errors import RemoteCorrupt, RemoteError, RemoteNotFound, RemoteRateLimited, RemoteUnavailable
from oci.remote.mirrors.health import FIRST, LONGEST, HealthBook, PlaceHealth, after_failure, after_success

DOWN = RemoteUnavailable("down")


def test_each_failure_in_a_row_doubles_the_pause_up_to_a_limit() -> None:
    health, now, pauses = PlaceHealth(), 100.0, []
    for _ in range(8):
        health = after_failure(health, now)
        pauses.append(health.until - now)
        now = health.until
    assert pauses == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, 16 * FIRST, 32 * FIRST, LONGEST, LONGEST]


def test_failures_that_were_under_way_count_once_and_so_do_answers() -> None:
    cooling = after_failure(PlaceHealth(), 100.0)
    assert after_failure(cooling, 101.0) == cooling
    assert after_success(cooling, 101.0) == cooling
    assert after_success(cooling, cooling.until) == PlaceHealth()
    assert after_failure(PlaceHealth(), 0.0, at_least=60.0).until == 60.0
    assert after_failure(PlaceHealth(), 0.0, at_least=1e9).until == LONGEST


def test_those_that_cool_down_come_last_and_come_back() -> None:
    now = [0.0]
    book = HealthBook(clock=lambda: now[0])

    def order() -> str:
        return "".join(book.in_order("abc", str))

    errors: tuple[RemoteError, ...] = (DOWN, RemoteCorrupt("wrong"), RemoteRateLimited("slow", retry_after=100.0))
    for error in errors:
        book.note("a", error)
        assert order() == "bca"
        now[0] += 400.0
        assert order() == "abc"
        book.note("a", None)
    book.note("a", RemoteNotFound("not there"))
    assert order() == "abc"
    book.note("a", DOWN)
    now[0] += 1.0
    book.note("b", DOWN)
    assert order() == "cab"
