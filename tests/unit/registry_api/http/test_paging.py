"""Counts and links of pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import PaginationInvalid
from registry_api.http.paging import next_link, parse_count


@given(st.integers(0, 10**18 - 1))
def test_a_count(count: int) -> None:
    assert parse_count(str(count)) == count


def test_no_count() -> None:
    assert parse_count(None) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "+1", " 1", "1.0", "1e3", "٣", "²", "9" * 5000])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(PaginationInvalid):
        parse_count(text)


def test_a_link_is_escaped() -> None:
    link = next_link("/v2/team/app/tags/list", {"n": "2", "last": "a b/ö"})
    assert link == '</v2/team/app/tags/list?n=2&last=a+b%2F%C3%B6>; rel="next"'
