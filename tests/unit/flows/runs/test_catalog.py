"""The catalogue that is opened while Prefect prepares the flow run."""

from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import Settings, read_settings
from flows.runs import catalog as module
from flows.runs.catalog import catalog_ahead, opened_catalog
from oci.errors import LocalError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = read_settings(home=tmp_path / "entrepot")
    open_catalog(settings).close()
    return settings


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of each catalogue that was opened."""
    found: list[Settings] = []
    open_really = open_catalog

    def noted(settings: Settings) -> object:
        found.append(settings)
        return open_really(settings)

    monkeypatch.setattr(module, "open_catalog", noted)
    return found


async def test_it_is_opened_once_and_closed_by_the_one_who_takes_it(settings: Settings, opened: list[Settings]) -> None:
    with catalog_ahead(settings):
        async with opened_catalog(settings) as first:
            assert len(opened) == 1
            async with opened_catalog(settings) as second:
                assert second is not first
        assert len(opened) == 2
    async with opened_catalog(settings):
        assert len(opened) == 3


async def test_one_of_other_settings_is_not_taken(settings: Settings, tmp_path: Path, opened: list[Settings]) -> None:
    other = read_settings(home=tmp_path / "other")
    with catalog_ahead(settings):
        async with opened_catalog(other) as catalog:
            assert catalog.settings == other
    assert len(opened) == 2


async def test_one_that_nobody_takes_is_closed(settings: Settings) -> None:
    with catalog_ahead(settings) as ahead:
        pass
    assert ahead is not None
    assert ahead.take(settings) is None


async def test_none_is_made_ahead(tmp_path: Path, opened: list[Settings]) -> None:
    settings = read_settings(home=tmp_path / "new")
    with catalog_ahead(settings) as ahead:
        assert ahead is None
    assert (opened, settings.root.exists()) == ([], False)


async def test_what_opening_raises_is_raised_where_it_is_taken(settings: Settings) -> None:
    settings.catalog_file.write_text("no database")
    with catalog_ahead(settings), pytest.raises((LocalError, OSError)):
        async with opened_catalog(settings):
            pass
    with catalog_ahead(settings):
        pass
