"""The administrator's password: made once, kept hashed, verified quickly after the first time."""

import json
import stat
from pathlib import Path

import pytest

from catalog.access import Users, ensure_administrator, password_file, users_file
from catalog.settings import Settings, read_settings
from oci.errors import CatalogUnusable


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "home")


def test_the_first_start_makes_the_password_and_later_ones_do_not(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    assert len(password) >= 20
    assert ensure_administrator(settings) is None
    for file in (password_file(settings), users_file(settings)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password_file(settings).read_text() == password + "\n"
    assert password not in users_file(settings).read_text()
    assert json.loads(users_file(settings).read_text())["admin"].startswith("$argon2id$")


def test_passwords_are_verified(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    users = Users(settings)
    assert not users.is_known("admin", password)
    assert users.verify("admin", password)
    assert users.is_known("admin", password)
    for name, wrong in (("admin", password + "x"), ("admin", ""), ("nobody", password), ("", "")):
        assert not users.verify(name, wrong)
        assert not users.is_known(name, wrong)


def test_a_changed_file_is_read_again(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    users = Users(settings)
    assert users.verify("admin", password)
    users_file(settings).unlink()
    assert not users.is_known("admin", password)
    changed = ensure_administrator(settings)
    assert changed is not None
    assert not users.verify("admin", password)
    assert users.verify("admin", changed)


def test_a_damaged_file_is_an_error_that_names_it(settings: Settings) -> None:
    ensure_administrator(settings)
    users_file(settings).write_text("{")
    with pytest.raises(CatalogUnusable, match=r"users\.json"):
        Users(settings).verify("admin", "x")
