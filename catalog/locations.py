"""Where an installation keeps its state: home, catalogue and blobs. The settings begin with these."""

import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from catalog.postgres_address import SCHEMES, PostgresAddress, parse_address
from oci.errors import SettingsInvalid


class Locations(BaseSettings):
    """Home, catalogue and storage, as the settings name them and as paths and addresses."""

    model_config = SettingsConfigDict(env_prefix="ENTREPOT_", frozen=True, extra="ignore")

    home: Path = Field(Path("~/.local/share/entrepot"), description="Folder of all local state.")
    catalog: str = Field(
        "",
        description="Bookkeeping of the catalogue: `sqlite:PATH`, or `postgresql://USER@HOST:PORT/DATABASE` for many machines. "
        "Default: `HOME/catalog/catalog.sqlite`.",
    )
    catalog_password: SecretStr | None = Field(None, description="Password of the catalogue's PostgreSQL user.")
    catalog_password_file: Path | None = Field(
        None, description="File with that password. Without either, libpq looks into `~/.pgpass` and `PGPASSWORD`."
    )
    storage: str = Field(
        "", description="Where blobs are kept: `file:PATH` or `s3://BUCKET/PREFIX`. Default: `HOME/blobs`."
    )
    s3_endpoint: str = Field("", description="URL of the S3 server. Default: AWS, by its own settings.")

    @cached_property
    def root(self) -> Path:
        """`home` as an absolute path."""
        return self.home.expanduser().absolute()

    @cached_property
    def catalog_address(self) -> PostgresAddress | None:
        """The PostgreSQL database of the catalogue; None when it is a SQLite file. Raise SettingsInvalid."""
        if not self.catalog.startswith(SCHEMES):
            return None
        return parse_address(self.catalog, self._catalog_password)

    @property
    def _catalog_password(self) -> str:
        if self.catalog_password is not None:
            return self.catalog_password.get_secret_value()
        if self.catalog_password_file is None:
            return ""
        try:
            return self.catalog_password_file.expanduser().read_text().rstrip("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"ENTREPOT_CATALOG_PASSWORD_FILE: {error}") from None

    @cached_property
    def catalog_file(self) -> Path:
        """The SQLite file of the bookkeeping. With PostgreSQL only its folder is there, for what is one machine's."""
        default = self.root / "catalog" / "catalog.sqlite"
        if self.catalog_address is not None:
            return default
        return _path_of(self.catalog, "sqlite:", default, "ENTREPOT_CATALOG")

    @property
    def has_catalog(self) -> bool:
        """Return whether there is a catalogue to open; one in PostgreSQL is made when it is opened."""
        return self.catalog_address is not None or self.catalog_file.exists()

    @cached_property
    def storage_folder(self) -> Path | None:
        """The folder of the blob store; None when it is in S3."""
        if self.storage.startswith("s3://"):
            return None
        return _path_of(self.storage, "file:", self.root / "blobs", "ENTREPOT_STORAGE")

    @cached_property
    def storage_bucket(self) -> tuple[str, str]:
        """Bucket and prefix of a blob store in S3; raise SettingsInvalid."""
        bucket, _, prefix = self.storage.removeprefix("s3://").partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise SettingsInvalid(f"ENTREPOT_STORAGE is {self.storage!r}; expected file:PATH or s3://BUCKET/PREFIX")
        return bucket, prefix.strip("/")


def check_catalog(text: str) -> None:
    """Raise SettingsInvalid for what is no `ENTREPOT_CATALOG`, without repeating a password."""
    if text.startswith(SCHEMES):
        parse_address(text, "")
    else:
        _path_of(text or "-", "sqlite:", Path(), "--to")


def _path_of(value: str, scheme: str, default: Path, name: str) -> Path:
    if not value:
        return default
    if not value.startswith(scheme) or value == scheme:
        other = " or postgresql://USER@HOST:PORT/DATABASE" if scheme == "sqlite:" else " or s3://BUCKET/PREFIX"
        raise SettingsInvalid(f"{name} is {value!r}; expected {scheme}PATH{other}")
    return Path(value.removeprefix(scheme)).expanduser().absolute()
