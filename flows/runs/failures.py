"""Acting on many things of which some fail: what is noted, and what ends it all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from oci.errors import EntrepotError, LocalError, RemoteUnauthorized, RemoteUnavailable

MAX_UNAVAILABLE = 10
"""After so many failures of an unreachable registry in a row the rest is not tried."""

MAX_NAMED = 20
"""How many failures an error's message names; its detail has all."""


async def each(keys: Iterable[str], act: Callable[[str], Awaitable[None]], failed: dict[str, EntrepotError]) -> None:
    """Act on all keys at once, noting each one's failure; what no other key would survive is raised, the rest cancelled.

    Raised are failures of this installation, an upstream that fails MAX_UNAVAILABLE times in a row, and one that has let nothing
    through when it refuses the login for the MAX_UNAVAILABLE-th time. One refusal is one key's failure: rights may differ.
    """
    in_a_row, refused, done = 0, 0, 0

    async def guarded(key: str) -> None:
        nonlocal in_a_row, refused, done
        try:
            await act(key)
        except LocalError:
            raise
        except EntrepotError as error:
            failed[key] = error
            in_a_row = in_a_row + 1 if isinstance(error, RemoteUnavailable) else 0
            refused += isinstance(error, RemoteUnauthorized) and error.status == 401
            if in_a_row >= MAX_UNAVAILABLE or (refused >= MAX_UNAVAILABLE and not done):
                raise
        else:
            in_a_row, done = 0, done + 1

    try:
        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(guarded(key))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def named(failed: Mapping[str, str]) -> list[str]:
    """Lines of a message that name what failed, with the reasons."""
    lines = [f"  {key}: {reason}" for key, reason in list(failed.items())[:MAX_NAMED]]
    return [*lines, f"  … and {len(failed) - MAX_NAMED} more"] if len(failed) > MAX_NAMED else lines
