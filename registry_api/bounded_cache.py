"""A bounded cache, so that requests cannot fill a process's memory."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class BoundedCache(Generic[_K, _V]):
    """Values by key; beyond `limit`, the value stored longest ago is evicted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[_K, _V] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def get(self, key: _K) -> _V | None:
        """Return the value of a key, None where there is none."""
        return self._values.get(key)

    def items(self) -> list[tuple[_K, _V]]:
        """Return all pairs, those stored longest ago first."""
        return list(self._values.items())

    def put(self, key: _K, value: _V) -> None:
        """Store a value, as the newest."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def discard(self, key: _K) -> None:
        """Remove a key, if it is there."""
        self._values.pop(key, None)
