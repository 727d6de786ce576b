"""The record of held blobs on each engine: one behaviour, whether one machine has it or many share it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catalog.blobs.index import BlobIndex
from tests.holdings import open_holdings


@pytest.fixture(params=["sqlite", "postgresql"])
def open_index_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], BlobIndex]]:
    """Open the same record again and again, as other processes would."""
    with open_holdings(request, tmp_path / "holdings.sqlite") as opener:
        yield opener


@pytest.fixture
def blob_index(open_index_again: Callable[[], BlobIndex]) -> BlobIndex:
    return open_index_again()
