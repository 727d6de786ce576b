"""Cookies and forms as values: when a cookie is secure, which cookies are read, whose a form is."""

from datetime import UTC, datetime

import pytest

from catalog.access.bearer_tokens import make_key
from catalog.access.policy import Policy
from registry_api.pages.framework.sessions import form_token, is_own_form, is_secure, read_cookies

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("scheme", "host", "public_url", "secure"),
    [
        ("https", "registry.example", "", True),
        ("http", "registry.example", "", False),
        ("http", "registry.example", "https://registry.example", True),
        ("http", "REGISTRY.example", "https://registry.example/", True),
        ("http", "127.0.0.1:5080", "https://registry.example", False),
        ("http", "registry.example", "http://registry.example", False),
    ],
)
def test_a_cookie_is_secure_where_the_client_comes_by_tls(
    scheme: str, host: str, public_url: str, secure: bool
) -> None:
    scope = {"scheme": scheme, "headers": [(b"host", host.encode())]}
    assert is_secure(scope, public_url) is secure


@pytest.mark.parametrize(
    ("lines", "cookies"),
    [
        ([b"a=1; b=2"], {"a": "1", "b": "2"}),
        ([b"a=1", b"b=2"], {"a": "1", "b": "2"}),
        ([], {}),
        ([b"a=" + b"x" * 20_000], {}),
        ([b"\xff\x00;;;=,"], {}),
    ],
)
def test_cookies_are_read_from_any_header(lines: list[bytes], cookies: dict[str, str]) -> None:
    assert read_cookies({"headers": [(b"cookie", line) for line in lines]}) == cookies


def test_a_forms_token_holds_for_its_visitor_and_for_keys_that_are_still_there() -> None:
    old, new = make_key(NOW), make_key(NOW)
    token = form_token(old, "visitor")
    assert is_own_form(Policy(keys=(old, new)), "visitor", token)
    assert not is_own_form(Policy(keys=(new,)), "visitor", token)
    assert not is_own_form(Policy(keys=(old,)), "another", token)
    assert not is_own_form(Policy(keys=(old,)), "", form_token(old, ""))
    assert not is_own_form(Policy(keys=(old,)), "visitor", "é")
