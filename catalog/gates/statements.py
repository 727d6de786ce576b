"""Whether manifests that pose as statements are such, by the bytes of their layers; what was found is kept."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from oci.digest import Digest
from oci.errors import EntrepotError
from oci.kinds import is_json_object
from oci.manifest import parse_manifest

_KEPT = 100_000
_LARGEST = 16 * 1024 * 1024
"""Bytes of a layer that is read."""


class HeldBytes(Protocol):
    """The store: sizes of what is held, and its bytes."""

    def size(self, digest: Digest) -> int | None:
        """Return the bytes of a blob; None for one that is not held."""

    def read(self, digest: Digest, *, size: int | None = None) -> bytes:
        """Return a blob; raise EntrepotError."""


class StatementContent:
    """Reads each manifest once; what is not held is looked for again. Usable from any thread."""

    def __init__(self, content: Callable[[], HeldBytes]) -> None:
        self._content = content
        self._known: OrderedDict[Digest, bool] = OrderedDict()
        self._guard = Lock()

    def __call__(self, digest: Digest) -> bool:
        """Return whether every layer of a manifest is a JSON object; False where one is not held."""
        with self._guard:
            known = self._known.get(digest)
        if known is not None:
            return known
        found = self._look(digest)
        if found is None:
            return False
        with self._guard:
            self._known[digest] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _look(self, digest: Digest) -> bool | None:
        content = self._content()
        try:
            layers = parse_manifest(content.read(digest), algorithm=digest.algorithm).layers
            for layer in layers:
                size = content.size(layer.digest)
                if size is None:
                    return None
                if size > _LARGEST or not is_json_object(content.read(layer.digest)):
                    return False
        except EntrepotError:
            return None
        return bool(layers)
