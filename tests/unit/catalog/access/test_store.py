"""The file of accounts and rules: the administrator is made once, secrets are kept as hashes, changes are seen at once."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from catalog.access.logins import Logins
from catalog.access.store import AccessStore, access_file, ensure_administrator, password_file
from catalog.settings import Settings, read_settings
from oci.errors import CatalogUnusable


def now() -> datetime:
    return datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "home")


def logins_of(settings: Settings) -> Logins:
    return Logins(AccessStore(settings), now)


def test_the_first_start_makes_the_password_and_later_ones_do_not(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    assert len(password) >= 20
    assert ensure_administrator(settings) is None
    for file in (password_file(settings), access_file(settings)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password_file(settings).read_text() == password + "\n"
    assert password not in access_file(settings).read_text()
    found = json.loads(access_file(settings).read_text())["accounts"]["admin"]
    assert found["password"].startswith("$argon2id$")


def test_passwords_are_verified(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    logins = logins_of(settings)
    assert logins.find("admin", password) is None
    assert logins.verify("admin", password) is not None
    assert logins.find("admin", password) is not None
    for name, wrong in (("admin", password + "x"), ("admin", ""), ("nobody", password), ("", "")):
        assert logins.verify(name, wrong) is None
        assert logins.find(name, wrong) is None


def test_a_changed_file_is_read_again(settings: Settings) -> None:
    password = ensure_administrator(settings)
    assert password is not None
    logins = logins_of(settings)
    assert logins.verify("admin", password)
    access_file(settings).unlink()
    assert logins.find("admin", password) is None
    changed = ensure_administrator(settings)
    assert changed is not None
    assert logins.verify("admin", password) is None
    assert logins.verify("admin", changed)


@pytest.mark.parametrize("text", ["{", "[]", '{"accounts": {"admin": {"name": "BAD"}}}', '{"unheard": 1}'])
def test_a_damaged_file_is_an_error_that_names_it(settings: Settings, text: str) -> None:
    ensure_administrator(settings)
    access_file(settings).write_text(text)
    with pytest.raises(CatalogUnusable, match=r"access\.json"):
        logins_of(settings).verify("admin", "x")


def test_the_users_of_an_earlier_release_go_on(settings: Settings) -> None:
    settings.root.mkdir(exist_ok=True)
    (settings.root / "users.json").write_text(json.dumps({"admin": PasswordHasher().hash("as before")}))
    assert ensure_administrator(settings) is None
    assert logins_of(settings).verify("admin", "as before") is not None
    assert not password_file(settings).exists()


def test_a_change_that_is_refused_leaves_the_file_as_it_was(settings: Settings) -> None:
    ensure_administrator(settings)
    before = access_file(settings).read_bytes()

    def fail(_policy: object) -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        AccessStore(settings).update(fail)  # type: ignore[arg-type]
    assert access_file(settings).read_bytes() == before
