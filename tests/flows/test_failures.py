"""What many actions at once do about failures: one refusal is one key's, a login that opens nothing ends it."""

import asyncio

import pytest

from flows.runs.failures import MAX_UNAVAILABLE, each
from oci.errors import EntrepotError, RemoteUnauthorized, RemoteUnavailable


def run(answers: dict[str, EntrepotError | None]) -> tuple[list[str], dict[str, EntrepotError]]:
    done: list[str] = []
    failed: dict[str, EntrepotError] = {}

    async def act(key: str) -> None:
        await asyncio.sleep(0)
        error = answers[key]
        if error is not None:
            raise error
        done.append(key)

    asyncio.run(each(answers, act, failed))
    return done, failed


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_is_one_key_s_failure(status: int) -> None:
    refused = RemoteUnauthorized("no", status=status)
    done, failed = run({"a": None, "b": refused, "c": None})
    assert done == ["a", "c"]
    assert failed == {"b": refused}


def test_a_login_that_opens_nothing_ends_it_soon() -> None:
    with pytest.raises(RemoteUnauthorized):
        run({str(number): RemoteUnauthorized("no", status=401) for number in range(MAX_UNAVAILABLE + 1)})


def test_refusals_by_rights_end_nothing_however_many() -> None:
    _done, failed = run({str(number): RemoteUnauthorized("no", status=403) for number in range(50)})
    assert len(failed) == 50


def test_an_upstream_that_is_away_ends_it() -> None:
    with pytest.raises(RemoteUnavailable):
        run({str(number): RemoteUnavailable("away") for number in range(MAX_UNAVAILABLE + 1)})
