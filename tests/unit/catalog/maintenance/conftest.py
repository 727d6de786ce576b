"""Work on what is stored, with the record of held blobs on either engine."""

import pytest

from catalog.blobs.index import BlobIndex
from tests.holdings import open_shared_index


@pytest.fixture(params=["sqlite", "postgresql"])
def holdings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have catalogues keep their record of held blobs in that kind of database, and the rest where it is."""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()

        def open_index(*_: object, **__: object) -> BlobIndex:
            return open_shared_index(url)

        monkeypatch.setattr("catalog.catalog.open_index", open_index)
