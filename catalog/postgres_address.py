"""The address of a PostgreSQL database: a URL without its password.

Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from oci.errors import SettingsInvalid

SCHEMES = ("postgresql://", "postgres://")
_OPTIONS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "target_session_attrs"})
_PATIENCE = {
    "target_session_attrs": "read-write",  # a standby knows neither what was just acknowledged nor who holds a lock
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""A server that was cut off without a word counts as gone after some ten seconds."""


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """Where a database is and who logs in. `options` are libpq's; the password stays out of every text."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Return the address for messages: `postgresql://user@host:port/database`."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def parameters(self) -> dict[str, str]:
        """Return what libpq is told, password and options included."""
        told = {"host": self.host, "port": str(self.port), "user": self.user, "dbname": self.database}
        if self.password:
            told["password"] = self.password
        return {**told, **self.session()}

    def session(self) -> dict[str, str]:
        """Return what libpq is told beside the login."""
        return {**_PATIENCE, **dict(self.options)}


def parse_address(url: str, password: str) -> PostgresAddress:
    """Read `postgresql://USER@HOST[:PORT]/DATABASE[?sslmode=…]`; raise SettingsInvalid, without repeating a password."""
    expected = "ENTREPOT_CATALOG: expected postgresql://USER@HOST:PORT/DATABASE"
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
    except ValueError:
        raise SettingsInvalid(expected) from None
    if parts.password is not None:
        raise SettingsInvalid(
            f"{expected}, without the password; give that by ENTREPOT_CATALOG_PASSWORD_FILE or ENTREPOT_CATALOG_PASSWORD"
        )
    database = unquote(parts.path.removeprefix("/"))
    if not (parts.hostname and parts.username and database) or "/" in database or parts.fragment:
        raise SettingsInvalid(expected)
    options = tuple(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted({name for name, _ in options} - _OPTIONS):
        raise SettingsInvalid(f"{expected}; {unknown[0]!r} is none of its options: {', '.join(sorted(_OPTIONS))}")
    return PostgresAddress(parts.hostname, port, unquote(parts.username), database, password, options)
