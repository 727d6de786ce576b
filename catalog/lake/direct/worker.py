"""The process that makes direct commits for another one: it reads requests from stdin, and answers on stdout.

It never loads DuckDB. It ends when its parent closes stdin, or dies; a transaction under way is finished or undone before.
A parent that died may have left a request behind, while another process already holds the write lock: so each request carries
a fencing token, the value of the commit counter while its parent holds the lock. Who takes the lock over moves the counter on,
and then takes the worker's lock once. So a request of a dead parent is written before that moment, or never.
"""

import fcntl
import os
import signal
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path

from catalog.lake.direct.append import Append
from catalog.lake.direct.columns import NotDirect
from catalog.lake.direct.messages import BEGUN, DONE, READY, REFUSED, encode_message, read_message, send
from catalog.lake.direct.sqlite_session import SqliteSession
from catalog.lake.direct.transaction import Bookkeeping, DirectCommit


class _Requests:
    """The parent's requests, each carried out under the worker's lock."""

    def __init__(self, bookkeeping: Bookkeeping, lock: int, counter: int, out: int) -> None:
        self._bookkeeping, self._lock, self._counter, self._out = bookkeeping, lock, counter, out

    def answer(self, request: tuple[object, ...]) -> bytes:
        token, appends, author, note, told = request
        assert isinstance(appends, list)
        commit = DirectCommit([Append(*one) for one in appends], str(author), str(note), str(told))
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            if int.from_bytes(os.pread(self._counter, 8, 0), sys.byteorder) != token:
                return encode_message(REFUSED, "the write lock was lost")
            return encode_message(DONE, self._bookkeeping.commit(commit, before=self._tell))
        except NotDirect as error:
            return encode_message(REFUSED, str(error))
        except (sqlite3.Error, ValueError) as error:  # a ValueError is a text that is no Unicode
            return encode_message(REFUSED, f"SQLite: {getattr(error, 'sqlite_errorname', type(error).__name__)}")
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _tell(self, snapshot_id: int) -> None:
        """Tell the parent which snapshot comes, so that it can look for it if this process dies now."""
        send(self._out, encode_message(BEGUN, snapshot_id))


def main(file: str, lock: str, counter: str, busy_timeout: str) -> None:
    """Answer requests about the bookkeeping in `file` until stdin ends; `busy_timeout` is in seconds."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent decides: it closes stdin when it is done
        signal.signal(number, signal.SIG_IGN)
    source, out = sys.stdin.fileno(), sys.stdout.fileno()
    mode = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    bookkeeping = Bookkeeping(SqliteSession(Path(file), busy_timeout=float(busy_timeout)))
    requests = _Requests(bookkeeping, os.open(lock, mode, 0o600), os.open(counter, os.O_RDONLY | os.O_CLOEXEC), out)
    with suppress(BrokenPipeError):  # the parent has died
        send(out, encode_message(READY))
        while (request := read_message(source)) is not None:
            send(out, requests.answer(request))
