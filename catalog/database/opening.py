"""Opens the database that the settings name. psycopg is loaded only where they name PostgreSQL."""

from typing import TYPE_CHECKING

from catalog.settings import Settings
from oci.errors import CatalogUnusable

if TYPE_CHECKING:
    from catalog.database.postgresql import PostgresDatabase


def open_postgres(settings: Settings) -> "PostgresDatabase | None":
    """Return the database of `ENTREPOT_CATALOG`, None when that is a file; the caller closes it.

    Raises CatalogUnusable, CatalogUnavailable, SettingsInvalid.
    """
    address = settings.catalog_address
    if address is None:
        return None
    try:
        from catalog.database.postgresql import PostgresDatabase
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in {"psycopg", "psycopg_pool"}:
            raise
        raise CatalogUnusable(
            "a catalogue in PostgreSQL needs psycopg, which is not installed: pip install 'entrepot[postgresql]'"
        ) from None
    return PostgresDatabase(address)
