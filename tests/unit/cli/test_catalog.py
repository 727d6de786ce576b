import os
from pathlib import Path

import pytest

from catalog.settings import read_settings
from cli.catalog import settings_of


@pytest.mark.parametrize("home", [None, Path("relative"), Path("~/below")])
def test_a_command_has_the_settings_that_what_it_starts_reads(
    home: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a catalogue that was opened for a flow would not be taken for its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENTREPOT_HOME")
    settings = settings_of(home)
    assert settings == read_settings()
    assert settings.root.is_absolute()
    assert Path(os.environ["ENTREPOT_HOME"]) == settings.root
