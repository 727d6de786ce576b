"""Whether `entrepot up` runs with a home, and where to find what it serves."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from catalog.settings import Settings
from oci.errors import LocalError


@dataclass(frozen=True, slots=True)
class Running:
    """What an `entrepot up` serves; URLs are empty while it is still starting."""

    pid: int
    ui_url: str = ""
    prefect_api_url: str = ""
    registry_url: str = ""


class AlreadyUp(LocalError):
    """Another `entrepot up` runs with this home."""


def _lock(settings: Settings) -> FileLock:
    return FileLock(settings.root / "up.lock", timeout=0)


def _file(settings: Settings) -> Path:
    return settings.root / "up.json"


@contextmanager
def hold_home(settings: Settings, pid: int) -> Iterator[None]:
    """Be the one `entrepot up` of this home; raise AlreadyUp, saying what runs where."""
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(settings)
    try:
        lock.acquire()
    except Timeout:
        other = _read(settings)
        where = f"registry {other.registry_url}, Prefect {other.ui_url}; " if other and other.registry_url else ""
        process = f" as process {other.pid}" if other else ""
        raise AlreadyUp(
            f"entrepot is up already with {settings.root}{process}: {where}stop it there with Ctrl-C, "
            "or use another folder by --home"
        ) from None
    try:
        write_running(settings, Running(pid))
        yield
    finally:
        _file(settings).unlink(missing_ok=True)
        lock.release()


def write_running(settings: Settings, running: Running) -> None:
    """Tell other commands where things are; whole or not at all."""
    staged = _file(settings).with_suffix(".new")
    staged.write_text(json.dumps(asdict(running)) + "\n")
    staged.rename(_file(settings))


def find_running(settings: Settings) -> Running | None:
    """What runs with this home; None when nothing does, whatever a killed process has left behind."""
    if not _file(settings).exists():
        return None
    lock = _lock(settings)
    try:
        lock.acquire()
    except Timeout:
        return _read(settings)
    lock.release()
    return None


def _read(settings: Settings) -> Running | None:
    try:
        return Running(**json.loads(_file(settings).read_text()))
    except (OSError, ValueError, TypeError):
        return None
