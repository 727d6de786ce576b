"""Which files of the machine may be named over HTTP: those below HOME/secrets and the folders that work is done in."""

from pathlib import Path

from catalog.settings import Settings
from catalog.work_roots import is_below
from oci.errors import Denied


def check_named(settings: Settings, what: str, path: str, *, recorded: str = "") -> None:
    """Raise Denied for a file that only those may name who administer the machine, whether or not it is there.

    `recorded` is what was named before, which may stay.
    """
    secrets = settings.root / "secrets"
    if path and path != recorded and not is_below(Path(path), (secrets, *settings.allowed_roots)):
        roots = ", ".join(map(str, settings.allowed_roots))
        raise Denied(f"the {what} that is named over HTTP must lie below {secrets} or {roots} (ENTREPOT_WORK_ROOTS)")
