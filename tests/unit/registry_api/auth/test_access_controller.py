"""Credentials as they come."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import Unauthorized
from registry_api.auth.access_controller import Credentials, parse_authorization


def _basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


@given(st.text(max_size=20).filter(lambda text: ":" not in text), st.text(max_size=20))
def test_any_login_comes_through(username: str, password: str) -> None:
    expected = Credentials("basic", username, password) if username or password else None
    assert parse_authorization(_basic(f"{username}:{password}")) == expected


@given(st.binary(max_size=60))
def test_any_other_header_is_a_login_or_refused(header: bytes) -> None:
    for text in (header, b"Basic " + header):
        try:
            login = parse_authorization(text)
        except Unauthorized:
            continue
        assert login is None or login.scheme == "bearer" or login.username or login.secret


def test_the_scheme_s_case_does_not_matter() -> None:
    assert parse_authorization(_basic("a:b").replace(b"Basic", b"bAsIc")) == Credentials("basic", "a", "b")


def test_two_empty_texts_are_nobody() -> None:
    assert parse_authorization(b"Basic Og==") is None


@pytest.mark.parametrize("header", [b"", b"Basic", b"Basic ", b"Basic x", b"Digest abc", _basic("nocolon")])
def test_what_is_no_login_is_refused(header: bytes) -> None:
    with pytest.raises(Unauthorized):
        parse_authorization(header)


def test_a_bearer_token_is_taken_as_it_is() -> None:
    assert parse_authorization(b"bearer  a.b.c ") == Credentials("bearer", "", "a.b.c")
