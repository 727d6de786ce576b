"""How long a remote has been silent: since when it owes a byte, and whether it is worth asking again."""

import time
from collections.abc import Callable

from oci.errors import RemoteError, RemoteSilent

_LEFT_ALONE = 30.0
"""Seconds for which a remote that was given up is not asked again; a pause as long as that is no silence of the remote's."""


class Silence:
    """The silence of one remote, whatever it is asked by; `clock` in seconds. Use it within one event loop."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._last = 0.0
        self._asking = 0
        self._quiet_from = 0.0

    def heard(self) -> None:
        """A byte has come."""
        self._since, self._quiet_from = None, self._clock()

    def failed(self, since: float) -> None:
        """Nothing has come to a question asked at a time."""
        now = self._clock()
        if self._since is None or now - self._last > _LEFT_ALONE:
            self._since = since
        self._last = now

    def left(self, limit: float) -> float:
        """Seconds that it may go on to be silent; none when it was given up a moment ago."""
        now = self._clock()
        if self._since is None or now - self._last > _LEFT_ALONE:
            return limit
        return max(0.0, limit - (now - self._since))

    # --- what is shown ---

    def asked(self) -> None:
        """A question is under way."""
        if not self._asking:
            self._quiet_from = self._clock()
        self._asking += 1

    def done(self) -> None:
        """It is no longer."""
        self._asking -= 1

    @property
    def seconds(self) -> float:
        """For how long those who have asked have been waiting for a byte; 0 when nobody waits."""
        return self._clock() - self._quiet_from if self._asking else 0.0


def given_up(limit: float, last: RemoteError | None, host: str) -> RemoteSilent:
    """Return the error for a remote that has been silent for too long; it says what the last try failed with."""
    words = last.message.removeprefix(f"upstream {last.registry}: ") if last else ""
    said = f"; the last try: {words}" if words else ""
    return RemoteSilent(f"has not sent a byte for {limit:g} s (ENTREPOT_SILENCE_TIMEOUT){said}", registry=host)
