"""Being the one `entrepot up` of a home."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import Timeout

from catalog.running_instance import Running, read_running, running_file, up_lock, write_running
from catalog.settings import Settings
from oci.errors import LocalError


class AlreadyUp(LocalError):
    """Another `entrepot up` runs with this home."""


@contextmanager
def hold_home(settings: Settings, pid: int) -> Iterator[None]:
    """Be the one `entrepot up` of this home; raise AlreadyUp, saying what runs where."""
    settings.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = up_lock(settings)
    try:
        lock.acquire()
    except Timeout:
        other = read_running(settings)
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
        running_file(settings).unlink(missing_ok=True)
        lock.release()
