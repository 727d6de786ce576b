"""What a process remembers of late: bounded, so that nobody can fill its memory by asking."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Recent(Generic[_K, _V]):
    """Values by key; when there are more than `limit`, what was kept longest ago goes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[_K, _V] = OrderedDict()

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def get(self, key: _K) -> _V | None:
        """What was kept."""
        return self._kept.get(key)

    def keep(self, key: _K, value: _V) -> None:
        """Remember one more, or another value, as the newest."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def forget(self, key: _K) -> None:
        """Remember it no longer."""
        self._kept.pop(key, None)
