"""Which files and folders may be named from afar, by a flow's parameters or over HTTP: those below certain folders."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from catalog.settings import Settings
from oci.errors import Denied, InvalidInput

_OF_A_WORKER = "PREFECT__FLOW_RUN_ID"
"""Prefect sets it for the process of a flow run that a worker starts."""


class PathRefused(Denied):
    """A path lies outside of the folders that may be named from afar."""


def is_from_afar(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether a flow's parameters were given to a worker: by whoever may use Prefect, who need not be who runs it.

    A command reads and writes with its caller's own rights, and needs no other bounds.
    """
    return bool(environ.get(_OF_A_WORKER))


def is_below(path: Path, roots: tuple[Path, ...]) -> bool:
    """Return whether a path, its links followed, lies in or below one of the folders; what can be no path does not."""
    try:
        real = Path(os.path.realpath(path))
    except ValueError:  # a NUL, or half a surrogate pair
        return False
    return any(real.is_relative_to(os.path.realpath(root)) for root in roots)


def allowed_path(
    settings: Settings, path: Path, what: str, *, base: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the path that a flow may use for one that its parameters name, as an absolute one; raise PathRefused.

    Of a worker's flow, a path that is not absolute is one below `base`, by default the first allowed folder, and links are
    followed before it is looked at where it leads. Whether something is there makes no difference.
    """
    try:
        given = path.expanduser()
    except RuntimeError:
        raise InvalidInput(f"invalid {what} {path}: expected the home of an existing user") from None
    if not is_from_afar(environ):
        return (base / given if base else given).absolute()
    roots = settings.allowed_roots
    whole = (base or roots[0]) / given
    if not is_below(whole, roots):
        raise PathRefused(
            f"the {what} {path} lies outside of what flows of a worker may use: {', '.join(map(str, roots))}; "
            "put it there, or name its folder in ENTREPOT_WORK_ROOTS"
        )
    return Path(os.path.realpath(whole))


def read_allowed(settings: Settings, path: Path, what: str, *, environ: Mapping[str, str] = os.environ) -> bytes:
    """Read a file that a flow's parameters name; raise PathRefused, OSError."""
    real = allowed_path(settings, path, what, environ=environ)
    if not is_from_afar(environ):
        return real.read_bytes()
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidInput(f"the {what} {path} is no file")
        _check_opened(settings, descriptor, path, what)
        return file.read()


def _check_opened(settings: Settings, descriptor: int, path: Path, what: str) -> None:
    """Look where an open file really lies: a folder above it may have become a link since the path was looked at."""
    place = Path(f"/proc/self/fd/{descriptor}")
    if place.exists() and not is_below(place, settings.allowed_roots):
        raise PathRefused(f"the {what} {path} has moved out of what flows of a worker may use")


def with_logins(settings: Settings, file: Path | None) -> Settings:
    """Return settings that look into a file of logins first; raise PathRefused for one that a worker may not read."""
    if file is None:
        return settings
    return settings.model_copy(update={"auth_file": allowed_path(settings, file, "file of logins")})
