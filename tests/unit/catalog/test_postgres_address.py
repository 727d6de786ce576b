"""The address of a PostgreSQL database: what is taken, what is refused, and that no text repeats a password."""

import pytest

from catalog.postgres_address import parse_address
from oci.errors import SettingsInvalid


def test_an_address_is_read_with_its_defaults_and_options() -> None:
    found = parse_address("postgresql://us%40er@db.example/entre%2Dpot?sslmode=verify-full", "se cret'")
    assert (found.host, found.port, found.user, found.database) == ("db.example", 5432, "us@er", "entre-pot")
    assert found.parameters()["sslmode"] == "verify-full"
    assert found.parameters()["password"] == "se cret'"
    assert found.place == "postgresql://us@er@db.example:5432/entre-pot"
    assert "se cret" not in repr(found)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://db.example/entrepot",
        "postgresql://user@db.example",
        "postgresql://user@db.example/",
        "postgresql://user@db.example:99999/x",
        "postgresql://user@db.example/a/b",
        "postgresql://user@db.example/x?host=/tmp",
    ],
)
def test_what_is_no_address_is_refused_with_the_form_of_one(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="expected postgresql://USER@HOST:PORT/DATABASE"):
        parse_address(url, "")


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsInvalid, match="ENTREPOT_CATALOG_PASSWORD_FILE") as refused:
        parse_address("postgresql://user:hunter2@db.example/x", "")
    assert "hunter2" not in str(refused.value)
