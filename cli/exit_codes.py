"""How a command ends: the one table from error to exit code, and how an error is told."""

import json
import os
import signal
import sys
import threading
from types import FrameType

from catalog.disk_reserve import FULL, WHAT_FREES
from oci.errors import EntrepotError, InvalidInput, QueryInvalid, SettingsInvalid, StorageFull, Unsupported

DONE, FAILED, USAGE, WOULD_CHANGE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143

EXIT_CODES: tuple[tuple[type[EntrepotError], int], ...] = (
    (InvalidInput, USAGE),
    (SettingsInvalid, USAGE),
    (QueryInvalid, USAGE),
    (Unsupported, USAGE),
    (EntrepotError, FAILED),
)
"""The first row whose class fits counts."""


def foreseen(error: BaseException) -> StorageFull | None:
    """Return what an error of others stands for: a disk without room, wherever that was noticed. None for any other."""
    seen: BaseException | None = error
    while seen is not None:
        if (isinstance(seen, OSError) and seen.errno in FULL) or "database or disk is full" in str(seen):
            return StorageFull(f"no room left on a disk that is written to ({seen}): {WHAT_FREES}")
        seen = seen.__cause__ or seen.__context__
    return None


def exit_code(error: EntrepotError) -> int:
    """Return the exit code of a command that ended with this error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def error_json(error: EntrepotError) -> dict[str, object]:
    """Return an error for programs: `kind` is the class, `code` the registry protocol's, `side` whose fault it is."""
    return {
        "error": {
            "kind": type(error).__name__,
            "code": error.code,
            "side": error.side,
            "retryable": error.retryable,
            "message": error.message,
            "detail": error.detail,
        }
    }


def report(error: EntrepotError, *, as_json: bool) -> int:
    """Tell an error, on standard error and with --json on standard output too; return the exit code."""
    sys.stderr.write(f"error: {error.message}\n")
    if as_json:
        sys.stdout.write(json.dumps(error_json(error), default=str) + "\n")
    return exit_code(error)


_terminated, _left = threading.Event(), threading.Event()
"""Whether SIGTERM came to this process; whether something was left behind that would keep it from ending."""


def end_on_sigterm() -> None:
    """Let SIGTERM (systemd, cron's timeout) end the command as Ctrl-C does, but for the exit code."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        _terminated.set()
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)


def note_termination() -> None:
    """Say that SIGTERM came, where another handler than ours was told."""
    _terminated.set()


def was_terminated() -> bool:
    """Return whether SIGTERM came."""
    return _terminated.is_set()


def leave_behind() -> None:
    """Say that threads or tasks are left that nobody can end: the process then ends without them."""
    _left.set()


def leave(code: int) -> None:
    """End the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    if _left.is_set():
        os._exit(code)
    sys.exit(code)
