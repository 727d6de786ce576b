"""Which database holds the state: PostgreSQL, where the settings name it. psycopg is loaded only then."""

from typing import TYPE_CHECKING

from catalog.settings import Settings
from oci.errors import CatalogUnusable

if TYPE_CHECKING:
    from catalog.database.postgresql import PostgresDatabase


def open_postgres(settings: Settings) -> "PostgresDatabase | None":
    """Open the PostgreSQL database that the settings name; None where they name none.

    Raise CatalogUnusable, CatalogUnavailable or SettingsInvalid.
    """
    address = settings.catalog_address
    if address is None:
        return None
    try:
        from catalog.database.postgresql import PostgresDatabase
    except ImportError as error:
        raise CatalogUnusable(
            f"ENTREPOT_CATALOG names PostgreSQL, and {error.name} is not installed: pip install 'entrepot[postgresql]'"
        ) from None
    return PostgresDatabase(address)
