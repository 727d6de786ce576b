"""A process that copies once, to be killed: `python -m tests.flows.copy.copy_once HOME SOURCE TARGET`."""

import asyncio
import sys
from pathlib import Path

from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.copy.procedure import open_copy, run_copy
from flows.copy.request import CopyRequest


async def main(home: Path, source: str, target: str) -> None:
    settings = read_settings(home=home)
    async with Upstreams(settings, None) as upstreams:
        await run_copy(await open_copy(CopyRequest(source=source, target=target), settings, upstreams))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
