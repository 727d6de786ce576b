"""The silence of a remote: how long it has sent nothing, and whether to try again."""

import time
from collections.abc import Callable

from oci.errors import RemoteError, RemoteSilent

_LEFT_ALONE = 30.0
"""Seconds for which a remote that was given up is not asked again; a pause as long as that is no silence of the remote's."""


class Silence:
    """The silence of one remote, over all its connections; `clock` in seconds. Use it within one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0
        self._asking = 0
        self._quiet_from = 0.0

    def heard(self) -> None:
        """Note that a byte has come."""
        self._since, self._quiet_from = None, self._clock()

    def failed(self, since: float) -> None:
        """Note that nothing has come for a request that was sent at `since`."""
        now = self._clock()
        if self._since is None or now - self._last > _LEFT_ALONE:
            self._since = since
        self._last = now

    def left(self, limit: float) -> float:
        """Return the seconds that it may go on to be silent; none when it was given up a moment ago."""
        now = self._clock()
        if self._since is None or now - self._last > _LEFT_ALONE:
            return limit
        return max(0.0, limit - (now - self._since))

    # --- what is shown ---

    def asked(self) -> None:
        """Note that a request is under way."""
        if not self._asking:
            self._quiet_from = self._clock()
        self._asking += 1

    def done(self) -> None:
        """Note that a request has ended."""
        self._asking -= 1

    @property
    def seconds(self) -> float:
        """Seconds for which requests have been waiting for a byte; 0 when none is under way."""
        return self._clock() - self._quiet_from if self._asking else 0.0


def given_up(limit: float, last: RemoteError | None, host: str) -> RemoteSilent:
    """Return the error for a remote that has been silent for too long; with the error of the last try."""
    reason = last.message.removeprefix(f"upstream {last.registry}: ") if last else ""
    details = f"; the last try: {reason}" if reason else ""
    return RemoteSilent(f"has not sent a byte for {limit:g} s (ENTREPOT_SILENCE_TIMEOUT){details}", registry=host)
