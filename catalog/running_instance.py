"""Whether `entrepot up` runs with a home, and where to find what it serves: the file that it writes, and others read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.settings import Settings


@dataclass(frozen=True, slots=True)
class Running:
    """What an `entrepot up` serves; URLs are empty while it is still starting.

    `prefect_is_ours` says that the Prefect server is its own, with the home's login.
    """

    pid: int
    ui_url: str = ""
    prefect_api_url: str = ""
    registry_url: str = ""
    prefect_is_ours: bool = False


def up_lock(settings: Settings) -> FileLock:
    """The lock that the one `entrepot up` of a home holds."""
    return FileLock(settings.root / "up.lock", timeout=0, mode=0o600)


def running_file(settings: Settings) -> Path:
    """Return where it tells what it serves."""
    return settings.root / "up.json"


def write_running(settings: Settings, running: Running) -> None:
    """Tell other processes where things are; whole or not at all."""
    staged = running_file(settings).with_suffix(".new")
    staged.touch(mode=0o600)
    staged.write_text(json.dumps(asdict(running)) + "\n")
    staged.rename(running_file(settings))


def read_running(settings: Settings) -> Running | None:
    """Return what the file says, whether or not that still runs."""
    try:
        return Running(**json.loads(running_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def find_running(settings: Settings) -> Running | None:
    """Return what runs with this home; None when nothing does, whatever a killed process has left behind."""
    if not running_file(settings).exists():
        return None
    lock = up_lock(settings)
    try:
        lock.acquire()
    except Timeout:
        return read_running(settings)
    lock.release()
    return None
