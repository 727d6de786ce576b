"""Ingests of several threads as one transaction of the blob index: those that come while one is written go together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from oci.digest import Digest

_GROUP = 64
"""How many blobs one transaction takes at most, so that other processes get their turn."""

_PLACING_THREADS = 16
"""How many blobs are placed at a time where each is a request over the network."""


@dataclass(slots=True)
class Ingest:
    """A verified, synced blob on its way in; `place` puts its bytes where they belong.

    `repository` gets a lease; `media_type` is set for manifests. `origin` is the registry that sent all of it, empty for none.
    `error` is what refused it.
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
    """Put the bytes of blobs in their places, one after the other or, if `is_remote`, side by side; each gets its own error."""
    if not is_remote or len(ingests) == 1:
        for one in ingests:
            _place(one)
    else:
        list(_placing().map(_place, ingests))


def _place(one: Ingest) -> None:
    try:
        one.place()
    except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
        one.error = error


@cache
def _placing() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_PLACING_THREADS, thread_name_prefix="place")


class IngestQueue:
    """Groups ingests; the first thread to come writes for all that wait. `write` sets the error of an ingest that fails alone."""

    def __init__(self, write: Callable[[Sequence[Ingest]], None]) -> None:
        self._write = write
        self._waiting: list[Ingest] = []
        self._guard, self._leading = threading.Lock(), threading.Lock()

    def ingest(self, ingest: Ingest) -> None:
        """Write one ingest; durable on return. Raises what `place` or the transaction raises."""
        with self._guard:
            self._waiting.append(ingest)
        while not ingest.is_done:
            with self._leading:
                if not ingest.is_done:
                    self._write_next(ingest)
        if ingest.error is not None:
            raise ingest.error

    def _write_next(self, own: Ingest) -> None:
        with self._guard:
            group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
        try:
            self._write(group)
        except Exception as error:  # noqa: BLE001  # handed to whoever waits for it
            for one in group:
                one.error = one.error or error
        except BaseException:  # this thread is to end; the next one of those that wait goes on
            with self._guard:
                self._waiting = [one for one in group if one is not own] + self._waiting
            raise
        for one in group:
            one.is_done = True
