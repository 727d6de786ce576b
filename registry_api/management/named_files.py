"""Files that may be named over HTTP: those below HOME/secrets and the work roots."""

from pathlib import Path

from catalog.settings import Settings
from catalog.work_roots import is_below
from oci.errors import Denied


def check_named(settings: Settings, field: str, path: str, *, recorded: str = "") -> None:
    """Raise Denied for a file outside these folders, whether or not it exists.

    `recorded` is the path named before, which may stay.
    """
    secrets = settings.root / "secrets"
    if path and path != recorded and not is_below(Path(path), (secrets, *settings.allowed_roots)):
        roots = ", ".join(map(str, settings.allowed_roots))
        raise Denied(f"invalid {field}: over HTTP it must lie below {secrets} or {roots} (ENTREPOT_WORK_ROOTS)")
