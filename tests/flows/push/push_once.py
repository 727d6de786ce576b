"""A process that pushes once, to be killed: `python -m tests.flows.push.push_once HOME SOURCE TARGET`."""

import asyncio
import sys
from pathlib import Path

from catalog.catalog import open_catalog
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from flows.push.context import PushContext
from flows.push.procedure import run_push
from flows.push.request import PushRequest


async def main(home: Path, source: str, target: str) -> None:
    settings = read_settings(home=home)
    with open_catalog(settings) as catalog:
        async with Upstreams(settings, catalog.remotes) as upstreams:
            await run_push(PushContext(PushRequest(source=source, target=target), catalog, upstreams))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
