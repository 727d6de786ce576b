"""Manifests' bytes in memory."""

import threading
from collections import OrderedDict

from oci.digest import Digest


class RawCache:
    """Manifests' bytes, the least recently used dropped beyond `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Digest, bytes] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, digest: Digest) -> bytes | None:
        """The bytes if they are kept."""
        with self._guard:
            raw = self._kept.get(digest)
            if raw is not None:
                self._kept.move_to_end(digest)
            return raw

    def keep(self, digest: Digest, raw: bytes) -> None:
        """Keep bytes, whatever else has to go."""
        with self._guard:
            if digest in self._kept or len(raw) > self._limit:
                return
            self._kept[digest] = raw
            self._held += len(raw)
            while self._held > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._held -= len(dropped)
