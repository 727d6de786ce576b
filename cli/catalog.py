"""Opens the catalogue for commands that ask it; what that needs is imported only then."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from oci.errors import CatalogUnusable

if TYPE_CHECKING:
    from catalog.browse.reader import Reader
    from catalog.catalog import Catalog
    from catalog.settings import Settings


_T = TypeVar("_T")


def settings_of(home: Path | None, **changes: object) -> "Settings":
    """Read the settings, options before environment; processes that are started later see the same home."""
    from catalog.settings import read_settings

    settings = read_settings(home=home, **changes)
    os.environ["ENTREPOT_HOME"] = str(settings.root)
    return settings.model_copy(update={"home": settings.root})  # equal to what flows and other processes read


@contextmanager
def opened(home: Path | None, *, may_be_new: bool = False) -> "Iterator[Catalog]":
    """Open the catalogue of a home; raise CatalogUnusable where there is none yet, unless it may be made."""
    settings = settings_of(home)
    if not may_be_new:
        _check_there(settings)
    from catalog.catalog import open_catalog

    with open_catalog(settings) as catalog:
        yield catalog


def ask_catalog(home: Path | None, ask: "Callable[[Reader], _T]") -> _T:
    """Return what `ask` reads; raise CatalogUnusable. `ask` may be called twice.

    A catalogue in a file is only attached, which is quicker than to open it. What that cannot read is read by opening it.
    """
    settings = settings_of(home)
    _check_there(settings)
    if settings.catalog_address is None:
        from catalog.browse.reader import Reader
        from catalog.lake.reading import NotReadable, attached

        with suppress(NotReadable), attached(settings.catalog_file) as lake:
            return ask(Reader(lake))
    from catalog.catalog import open_catalog

    with open_catalog(settings) as catalog:
        return ask(catalog.reader)


def _check_there(settings: "Settings") -> None:
    if not settings.has_catalog:
        raise CatalogUnusable(
            f"there is no catalogue in {settings.root} yet: run `entrepot sync` or `entrepot up` first, "
            "or name another folder by --home"
        )
