"""sha256 whose state outlives the process: a session's next request may reach another replica."""

from importlib.metadata import version

from rehashes import PySha256

_AT_ONCE = 256 * 1024
"""Bytes of one update: other threads wait for it."""

STATE_FORMAT = f"rehashes {version('rehashes')}"
"""What a state must have been written by to be read: no other release promises to understand it."""


class ResumableHasher:
    """A `Hasher` of sha256 that goes on from a state."""

    def __init__(self, state: bytes | None = None) -> None:
        self._hasher = PySha256() if state is None else PySha256.deserialize(state)

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add data."""
        if isinstance(data, bytes) and len(data) <= _AT_ONCE:
            self._hasher.update(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), _AT_ONCE):
            self._hasher.update(bytes(view[start : start + _AT_ONCE]))

    def hexdigest(self) -> str:
        """Return the digest of what was added, 64 hex digits."""
        return str(self._hasher.finalize())

    @property
    def state(self) -> bytes:
        """Return what another hasher goes on from."""
        return bytes(self._hasher.serialize())


def resume_hash(state: bytes | None, state_format: str) -> ResumableHasher | None:
    """Return a hasher that goes on from a state; None for one of another release."""
    if state is None or state_format != STATE_FORMAT:
        return None
    try:
        return ResumableHasher(state)
    except ValueError:
        return None
