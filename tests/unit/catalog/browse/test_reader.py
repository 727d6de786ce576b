"""Listing without opening the catalogue: the same answers, nothing written, and what cannot be read so is opened."""

import duckdb
import pytest

from catalog.browse.reader import Reader
from catalog.catalog import Catalog
from catalog.lake.reading import NotReadable, attached
from catalog.lake.schema import SCHEMA_VERSION
from catalog.versions.changes import AddManifest, RemoveTag, SetTag
from cli import catalog as of_commands
from oci.errors import NameUnknown, VersionUnknown
from tests.unit.catalog.conftest import commit_to, stage_image

NAME = "team/app"

pytestmark = pytest.mark.embedded


@pytest.fixture
def filled(catalog: Catalog) -> Catalog:
    """Three versions: `a` set; `b` set and `a` moved; `b` removed."""
    one, two = (stage_image(catalog, NAME, str(number), ("shared", str(number))) for number in range(2))
    commit_to(catalog, NAME, AddManifest(one), SetTag("a", one.digest))
    commit_to(catalog, NAME, AddManifest(two), SetTag("a", two.digest), SetTag("b", two.digest))
    commit_to(catalog, NAME, RemoveTag("b"))
    return catalog


def test_an_attached_catalogue_answers_as_an_opened_one(filled: Catalog) -> None:
    with attached(filled.settings.catalog_file) as lake:
        reader = Reader(lake)
        for number in (None, 0, 1, 2, 3):
            whole, found = filled.snapshots.get(NAME, number), reader.tagged(NAME, number)
            assert (found.version, found.tags, found.manifests) == (whole.version, whole.tags, whole.manifests)
        assert reader.history.repositories() == filled.history.repositories()
        assert reader.history.versions(NAME) == filled.history.versions(NAME)
        assert (reader.pins(NAME), reader.pulls(NAME)) == (filled.pins.of(NAME), filled.pulls.read_one(NAME))
        with pytest.raises(NameUnknown):
            reader.tagged("team/other")
        with pytest.raises(VersionUnknown, match="its latest is 3"):
            reader.tagged(NAME, 4)


def test_all_questions_see_one_state_and_nothing_can_be_written(filled: Catalog) -> None:
    with attached(filled.settings.catalog_file) as lake:
        reader = Reader(lake)
        assert reader.tagged(NAME).version == 3
        commit_to(filled, NAME, RemoveTag("a"))
        assert reader.tagged(NAME).version == 3
        with pytest.raises(NotReadable):
            lake.read("INSERT INTO schema_versions VALUES (1000, now())")
    with attached(filled.settings.catalog_file) as lake:
        assert Reader(lake).tagged(NAME).version == 4


@pytest.mark.parametrize("number", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_the_schema_of_another_release_is_not_read(
    filled: Catalog, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("catalog.lake.reading.SCHEMA_VERSION", number)
    with pytest.raises(NotReadable), attached(filled.settings.catalog_file):
        pass
    assert of_commands.ask_catalog(filled.settings.root, lambda reader: reader.tagged(NAME)).version == 3


def test_a_command_opens_what_it_cannot_read_when_attached(filled: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask(reader: Reader) -> int:
        asked.append(reader)
        if len(asked) == 1:
            raise NotReadable("overtaken by a flush")
        return reader.tagged(NAME).version

    assert of_commands.ask_catalog(filled.settings.root, ask) == 3
    monkeypatch.setattr(duckdb, "connect", lambda *_a, **_k: (_ for _ in ()).throw(duckdb.IOException("no")))
    with pytest.raises(NotReadable), attached(filled.settings.catalog_file):
        pass
