"""Slots without a server: locks in the home, which the kernel frees with the process that holds them."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from catalog.settings import Settings
from flows.engine.slots import DEFAULT_LIMIT, SlotTimeout

_LOOK_SECONDS = 0.2


class HomeSlots:
    """DEFAULT_LIMIT slots of each limit for all commands of one home; one file each in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of(cls, settings: Settings) -> "HomeSlots":
        """Return the slots of a home."""
        return cls(settings.root / "prefect" / "slots")

    @asynccontextmanager
    async def hold(self, limit: str, patience: float) -> AsyncIterator[None]:
        """Hold one slot while the context is open; raise SlotTimeout, and OSError where no lock can be made."""
        until = time.monotonic() + patience
        while (descriptor := self._take(limit)) is None:
            if time.monotonic() >= until:
                raise SlotTimeout
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            yield
        finally:
            os.close(descriptor)

    async def describe(self, limit: str, registry: str) -> str:  # noqa: ARG002  # as RunSlots has it
        """Return how many slots are held."""
        free = [descriptor for number in range(DEFAULT_LIMIT) if (descriptor := self._try(limit, number)) is not None]
        for descriptor in free:
            os.close(descriptor)
        return f"{DEFAULT_LIMIT - len(free)} of {DEFAULT_LIMIT} are taken by other commands of this home"

    def _take(self, limit: str) -> int | None:
        for folder in (self._folder.parent.parent, self._folder.parent, self._folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = (self._try(limit, number) for number in range(DEFAULT_LIMIT))
        return next((descriptor for descriptor in taken if descriptor is not None), None)

    def _try(self, limit: str, number: int) -> int | None:
        """Return the descriptor of a locked slot; None for one that is held."""
        descriptor = os.open(self._folder / f"{limit}.{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
