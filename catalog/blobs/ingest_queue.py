"""Ingests of several threads as one transaction of the blob index: those that come while one is written go together."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from oci.digest import Digest

_GROUP = 64
"""How many blobs one transaction takes at most, so that other processes get their turn."""

_LATE = 1.0
"""Seconds after which a group that is being written no longer holds up others."""

_DONE_EARLY = 0.25
"""Seconds after which a thread looks whether its own ingest was done before the rest of its group."""


@dataclass(slots=True)
class Ingest:
    """A verified, synced blob on its way in; `place` puts its bytes where they belong.

    `repository` gets a lease; `media_type` is set for manifests. `origin` is the registry that sent all of it, empty for none.
    `error` is what refused it. `write` may set `is_done` of those that need not wait for the rest of their group.
    """

    digest: Digest
    size: int
    place: Callable[[], None]
    repository: str
    media_type: str
    now: float
    origin: str = ""
    error: BaseException | None = None
    is_done: bool = False


def place_all(ingests: Sequence[Ingest], *, is_remote: bool) -> None:
    """Put the bytes of blobs in their places, one after the other or, if `is_remote`, side by side; each gets its own error.

    Side by side each has a thread, so that all take no longer than the slowest.
    """
    if not is_remote or len(ingests) == 1:
        for one in ingests:
            _place(one)
    elif ingests:
        with ThreadPoolExecutor(len(ingests), thread_name_prefix="place") as pool:
            list(pool.map(_place, ingests))


def _place(one: Ingest) -> None:
    try:
        one.place()
    except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
        one.error = error


class IngestQueue:
    """Groups ingests; the first thread to come writes for all that wait. `write` sets the error of an ingest that fails alone.

    One group is written at a time. Up to `groups` are where those under way take long, so that a store that does not answer
    for one blob holds up no others than those of its group.
    """

    def __init__(self, write: Callable[[Sequence[Ingest]], None], *, groups: int = 1) -> None:
        self._write, self._groups = write, groups
        self._waiting: list[Ingest] = []
        self._changed = threading.Condition()
        self._begun: dict[int, float] = {}  # by the thread that writes a group

    def ingest(self, ingest: Ingest) -> None:
        """Write one ingest; durable on return. Raises what `place` or the transaction raises."""
        with self._changed:
            self._waiting.append(ingest)
        while group := self._next_group(ingest):
            self._write_group(group, ingest)
        if ingest.error is not None:
            raise ingest.error

    def _next_group(self, own: Ingest) -> list[Ingest]:
        """Wait for the turn of this thread, and return the group that it writes; an empty one once its own ingest is done."""
        with self._changed:
            while not own.is_done:
                is_waiting = any(one is own for one in self._waiting)
                seconds = self._seconds_to_turn() if is_waiting else _DONE_EARLY
                if seconds == 0:
                    group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
                    self._begun[threading.get_ident()] = time.monotonic()
                    return group
                self._changed.wait(seconds)
        return []

    def _seconds_to_turn(self) -> float | None:
        """Return after how many seconds another group may be begun, None where one of those under way must end first."""
        if not self._begun:
            return 0
        if len(self._begun) >= self._groups:
            return None
        return max(0, max(self._begun.values()) + _LATE - time.monotonic())

    def _write_group(self, group: Sequence[Ingest], own: Ingest) -> None:
        unwritten: list[Ingest] = []
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
            for one in group:
                if not one.is_done:
                    one.error = one.error or error
        except BaseException:  # this thread is to end; the next one of those that wait goes on
            unwritten = [one for one in group if one is not own and not one.is_done]
            raise
        finally:
            with self._changed:
                self._waiting = unwritten + self._waiting
                for one in group:
                    one.is_done = one.is_done or not unwritten
                del self._begun[threading.get_ident()]
                self._changed.notify_all()
