"""The Prefect API that a command's process uses, watched while it is used."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from flows.direct.find_server import is_answering
from flows.orchestration.processes.restarts import Restarted

_LOOK_SECONDS = 1.0

Say = Callable[[str], None]


@dataclass(slots=True)
class UsedApi:
    """The Prefect API that this process uses; `answers` is what the last look at it said.

    `server` is ours, and started again when it ends; None for one that others look after.
    """

    url: str
    patience: float
    wait: Callable[[], None] = lambda: None
    server: Restarted | None = None
    answers: bool = True

    async def lost(self) -> None:
        """Watch the server; return once it has not answered for longer than it may be away."""
        away_since: float | None = None
        while away_since is None or time.monotonic() - away_since < self.patience:
            await asyncio.sleep(_LOOK_SECONDS)
            if self.server is not None:
                self.server.tend()
            self.answers = await asyncio.to_thread(is_answering, self.url, timeout=5.0)
            if self.answers:
                away_since = None
            elif away_since is None:
                away_since = time.monotonic()
