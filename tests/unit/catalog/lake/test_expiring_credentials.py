"""Credentials of a role, which expire: DuckDB reads and writes rows in S3 by those that boto3 has now."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3.session
import pytest
from botocore.credentials import RefreshableCredentials

from catalog.catalog import open_catalog
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.settings import read_settings
from oci.errors import CatalogUnavailable, StorageUnavailable
from tests.homes import new_home
from tests.servers import S3Server

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Role:
    """A role whose keys the server takes from the second renewal on."""

    def __init__(self, server: S3Server) -> None:
        self.now, self.renewals, self.is_away = NOW, 0, False
        self._right = server.env["AWS_ACCESS_KEY_ID"], server.env["AWS_SECRET_ACCESS_KEY"]
        self.credentials = RefreshableCredentials(
            "expired", "expired", "", NOW + timedelta(hours=1), self._renew, "test", time_fetcher=lambda: self.now
        )

    def _renew(self) -> dict[str, str]:
        self.renewals += 1
        if self.is_away:
            raise StorageUnavailable("the issuer of credentials does not answer")
        key, secret = self._right
        expires = (self.now + timedelta(hours=1)).isoformat()
        return {"access_key": key, "secret_key": secret, "token": "", "expiry_time": expires}


@pytest.mark.usefixtures("postgres")
def test_rows_are_written_and_read_by_the_credentials_of_now(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = Role(s3)
    monkeypatch.setattr(boto3.session.Session, "get_credentials", lambda _: role.credentials)
    settings = read_settings(home=new_home(tmp_path / "entrepot"))
    with open_catalog(settings) as catalog:
        metadata = catalog._lake.metadata
        assert isinstance(metadata, PostgresMetadata)

        def write() -> None:
            with catalog._lake.write() as writer:
                writer.execute(
                    "INSERT INTO pulls SELECT 'app', '', i::VARCHAR, DATE '2026-01-02', 1, now() FROM range(5000) r(i)"
                )

        with pytest.raises(CatalogUnavailable):
            write()
        role.now += timedelta(minutes=59)
        with pytest.raises(CatalogUnavailable):
            write()
        assert role.renewals == 0, "nobody looks more often than that"
        role.is_away, metadata._renew_at = True, 0.0
        with pytest.raises(CatalogUnavailable):
            write()
        role.is_away, metadata._renew_at = False, 0.0
        write()
        assert catalog._lake.read("SELECT count(*) FROM pulls") == [(5000,)]
        assert role.renewals == 2
        for _ in range(100):
            catalog._lake.read("SELECT 1")
        metadata._renew_at = 0.0
        catalog._lake.read("SELECT 1")
        assert role.renewals == 2, "they are valid"
