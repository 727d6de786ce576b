"""What a command says of a silent upstream where there is no terminal."""

import asyncio

import pytest

from cli import progress_bar
from flows.runs.progress import Progress


def test_waits_are_told_in_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress_bar, "LINE_EVERY", 0.01)
    told = asyncio.Event()

    def waits() -> str:
        told.set()
        return "waiting for registry.example for 12 s"

    shown = Progress(phase="copying", waits=waits)

    async def main() -> None:
        telling = asyncio.create_task(progress_bar.tell_progress(shown))
        await told.wait()
        await asyncio.sleep(0)
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)

    asyncio.run(main())
    assert "copying, waiting for registry.example for 12 s\n" in capsys.readouterr().err
