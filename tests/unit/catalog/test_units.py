"""Sizes, durations, ages and times: what is read, what is written, what is refused; and the fields made of them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import BaseModel, ValidationError

from catalog.unit_fields import Age, Duration, Hours, Seconds, Size
from catalog.units import format_duration, format_time, moment_of, parse_age, parse_duration, parse_size, parse_time
from oci.errors import InvalidInput

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("500", 500),
        ("50MB", 50_000_000),
        ("500M", 500_000_000),
        ("1.5 GB", 1_500_000_000),
        ("2GiB", 2**31),
        ("2gib", 2**31),
        ("10k", 10_000),
        ("1TiB", 2**40),
        ("999999999999999999", 999_999_999_999_999_999),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1", "1XB", "1,5GB", "1e9", "1 G B"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"invalid size '{text}': expected bytes, or such as 500MB, 10GB or 2GiB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("1w2d", timedelta(days=9)),
        ("1.5h", timedelta(minutes=90)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected
    assert parse_duration(format_duration(expected)) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "30 d", "30y", "-1d", "1M", "2026-01-31", "999999999w"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"invalid duration '{text}': expected such as 90s, 12h, 30d or 1w2d"):
        parse_duration(text)


def test_durations_for_people() -> None:
    texts = [format_duration(timedelta(seconds=count)) for count in (0, 0.25, 90, 3600, 777600)]
    assert texts == ["0s", "0.25s", "1m30s", "1h", "9d"]
    days = [format_duration(timedelta(days=count)) for count in (1.5, 7, 28, 30, 365)]
    assert days == ["1d12h", "1w", "4w", "30d", "365d"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("1w2d", timedelta(days=9)),
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:00+01:00", datetime(2026, 1, 31, 11, tzinfo=UTC)),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_ages(text: str, expected: timedelta | datetime) -> None:
    assert parse_age(text) == expected


@pytest.mark.parametrize("text", ["", "30", "d", "30 d", "30y", "-1d", "2026-13-01", "0001-01-01T00:00+12:00"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"invalid age '.*': expected 30d, 12h or 2026-01-31"):
        parse_age(text)


def test_the_moment_of_an_age() -> None:
    assert moment_of("12h", NOW) == datetime(2026, 1, 31, tzinfo=UTC)
    assert moment_of("2025-01-01", NOW) == datetime(2025, 1, 1, tzinfo=UTC)
    assert moment_of("999999w", NOW) == datetime.min.replace(tzinfo=UTC)


def test_times() -> None:
    assert parse_time("2026-01-31T12:00:00Z") == NOW
    assert format_time(NOW) == "2026-01-31T12:00:00Z"
    assert format_time(datetime(2026, 1, 31, 14, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=2)))) == (
        "2026-01-31T12:00:00.500000Z"
    )
    with pytest.raises(InvalidInput, match="invalid time 'noon': expected 2026-01-31 or 2026-01-31T12:00:00Z"):
        parse_time("noon")


class Form(BaseModel):
    """One field of each kind."""

    size: Size = 50_000_000
    keep: Duration = "1h"
    timeout: Seconds = 10.0
    tried: Hours = 72.0
    age: Age = ""


def test_fields_are_read_from_texts_and_numbers() -> None:
    found = Form.model_validate({"size": "2GiB", "keep": "1w2d", "timeout": "2m", "tried": "3d", "age": "30d"})
    assert found == Form(size=2**31, keep="1w2d", timeout=120.0, tried=72.0, age="30d")
    assert Form.model_validate({"size": 5, "timeout": "2.5"}) == Form(size=5, timeout=2.5)


def test_fields_are_written_as_they_are_read() -> None:
    written = Form(keep="1w2d").model_dump(mode="json")
    assert written == {"size": 50_000_000, "keep": "1w2d", "timeout": 10.0, "tried": 72.0, "age": ""}
    assert Form.model_validate(written) == Form(keep="1w2d")


def test_the_schema_shows_texts() -> None:
    fields = Form.model_json_schema()["properties"]
    assert fields["keep"]["type"] == "string"
    assert fields["keep"]["default"] == "1h"
    assert {kind["type"] for kind in fields["size"]["anyOf"]} == {"integer", "string"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("size", "1XB", "invalid size"), ("keep", "soon", "invalid duration"), ("age", "soon", "invalid age")],
)
def test_what_fields_refuse(field: str, value: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Form.model_validate({field: value})
