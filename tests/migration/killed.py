"""A migration that is killed; imported by the server that the processes are forked from."""

import os
import signal
from pathlib import Path

from tests.crash.killing import Traced
from tests.migration.histories import move, settings_of


def migrate_killed(home: Path, traced: Traced, *, url: str, back: bool, point: str) -> None:
    """Move the catalogue of a home, killed at a point, or at a line."""
    files, shared = settings_of(home), settings_of(home, url)

    def reached(name: str) -> None:
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)

    with traced.lines():
        move(shared if back else files, files if back else shared, reached)
