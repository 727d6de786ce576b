"""A promotion that begins too late does nothing: who started it may have lost the rights meanwhile."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.settings import read_settings
from flows.direct.run import Terminal, run_directly
from flows.promote.flow import promote_content
from flows.promote.request import PromoteRequest
from oci.errors import EntrepotError, InvalidInput


@pytest.mark.parametrize("is_late", [True, False])
def test_a_run_that_begins_too_late_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_late: bool
) -> None:
    monkeypatch.setenv("ENTREPOT_HOME", str(tmp_path))
    until = datetime.now(UTC) + timedelta(minutes=-1 if is_late else 10)
    request = PromoteRequest(source="a", repository="b", not_after=until)
    settings = read_settings(home=tmp_path)
    with pytest.raises(EntrepotError) as raised:  # there is no `a`
        asyncio.run(
            run_directly(promote_content, request, settings=settings, api=None, terminal=Terminal(lambda _: None))
        )
    assert ("had to begin by" in raised.value.message) is is_late
    assert isinstance(raised.value, InvalidInput) or not is_late
