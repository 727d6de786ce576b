"""Who may do what: everybody pulls, users write."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import Unauthorized
from registry_api.access import ANONYMOUS, Action, Login, check_access, parse_basic


def _basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@given(st.text(max_size=20).filter(lambda text: ":" not in text), st.text(max_size=20))
def test_any_login_comes_through(username: str, password: str) -> None:
    expected = Login(username, password) if username or password else None
    assert parse_basic(_basic(f"{username}:{password}")) == expected


@given(st.binary(max_size=60))
def test_any_other_header_is_a_login_or_refused(header: bytes) -> None:
    for text in (header, b"Basic " + header):
        try:
            login = parse_basic(text)
        except Unauthorized:
            continue
        assert login is None or login.username or login.password


def test_the_scheme_s_case_does_not_matter() -> None:
    assert parse_basic(_basic("a:b").replace(b"Basic", b"bAsIc")) == Login("a", "b")


def test_two_empty_texts_are_nobody() -> None:
    assert parse_basic(b"Basic Og==") is None


@pytest.mark.parametrize("header", [b"", b"Basic", b"Basic ", b"Basic x", b"Bearer abc", _basic("nocolon")])
def test_what_is_no_login_is_refused(header: bytes) -> None:
    with pytest.raises(Unauthorized):
        parse_basic(header)


@pytest.mark.parametrize("action", ["push", "delete"])
def test_nobody_may_not_write(action: Action) -> None:
    with pytest.raises(Unauthorized):
        check_access(ANONYMOUS, action)
    check_access("admin", action)


def test_everybody_may_pull() -> None:
    check_access(ANONYMOUS, "pull")
    check_access("admin", "pull")
