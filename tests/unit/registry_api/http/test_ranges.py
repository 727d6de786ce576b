"""Byte ranges, against the rule itself: which bytes are asked for, and are there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import RangeInvalid, UploadInvalid
from registry_api.http.ranges import Span, parse_byte_range, parse_chunk, upload_progress

sizes = st.integers(0, 50)
numbers = st.one_of(st.integers(0, 60), st.integers(0, 10**40))


def _bytes_of(span: Span | None) -> set[int] | None:
    return None if span is None else set(range(span.first, span.last + 1))


@given(sizes, numbers, numbers)
def test_first_to_last(size: int, first: int, last: int) -> None:
    wanted = {byte for byte in range(size) if first <= byte <= last}
    header = f"bytes={first}-{last}"
    if wanted:
        assert _bytes_of(parse_byte_range(header, size)) == wanted
    else:
        with pytest.raises(RangeInvalid):
            parse_byte_range(header, size)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "header", ["bytes={blanks}x", "bytes={blanks}-{blanks}x", "bytes=1-{digits}x", "bytes={digits}-x"]
)
def test_what_is_no_range_is_seen_in_one_pass(header: str) -> None:
    assert parse_byte_range(header.format(blanks=" " * 1_000_000, digits="1" * 1_000_000), 5) is None


@given(sizes, numbers)
def test_from_first_on(size: int, first: int) -> None:
    wanted = {byte for byte in range(size) if byte >= first}
    if wanted:
        assert _bytes_of(parse_byte_range(f"bytes={first}-", size)) == wanted
    else:
        with pytest.raises(RangeInvalid):
            parse_byte_range(f"bytes={first}-", size)


@given(sizes, numbers)
def test_the_last_so_many(size: int, count: int) -> None:
    wanted = {byte for byte in range(size) if byte >= size - count}
    if wanted:
        assert _bytes_of(parse_byte_range(f"bytes=-{count}", size)) == wanted
    else:
        with pytest.raises(RangeInvalid):
            parse_byte_range(f"bytes=-{count}", size)


@given(st.text(max_size=30), st.integers(1, 1000))
def test_any_text_is_a_part_or_ignored_or_refused(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        try:
            span = parse_byte_range(header, size)
        except RangeInvalid:
            continue
        assert span is None or 0 <= span.first <= span.last < size


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes=", "bytes=-", "bytes=1", "bytes=1-2,3-4", "bytes=a-", "bytes=1--2", "items=0-1"]
)
def test_what_is_no_single_byte_range_is_ignored(header: str) -> None:
    assert parse_byte_range(header, 100) is None


@given(st.integers(0, 10**17), st.integers(0, 10**17))
def test_a_chunk(first: int, length: int) -> None:
    assert parse_chunk(f"{first}-{first + length}") == Span(first, first + length)
    assert parse_chunk(f"bytes {first}-{first + length}/*").length == length + 1


@given(st.text(max_size=30))
def test_any_other_text_is_no_chunk(text: str) -> None:
    try:
        chunk = parse_chunk(text)
    except UploadInvalid:
        return
    assert chunk.length >= 1


@pytest.mark.parametrize("header", ["", "5", "5-", "-5", "5-4", "a-b", "0-1-2", "٣-٤", "0x1-0x2", f"0-{'9' * 30}"])
def test_what_is_no_chunk(header: str) -> None:
    with pytest.raises(UploadInvalid):
        parse_chunk(header)


@pytest.mark.parametrize(("offset", "said"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1000, "0-999")])
def test_progress(offset: int, said: str) -> None:
    assert upload_progress(offset) == said
