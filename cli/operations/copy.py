"""`entrepot copy`: from one registry to another, and nothing of it stays here."""

import asyncio
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

import typer

from cli.catalog import opened, settings_of
from cli.forms.command import from_form
from cli.options import Home, Json
from cli.output import print_changes, print_json, say_remarks

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.settings import Settings
    from flows.copy.report import CopyResult
    from flows.copy.request import CopyRequest


def _form() -> "type[CopyRequest]":
    from flows.copy.request import CopyRequest

    return CopyRequest


@from_form(_form)
def copy(_context: typer.Context, request: "CopyRequest", *, home: Home = None, as_json: Json = False) -> None:
    """Copy between two registries; nothing of it stays here.

    What the target has is not sent, and blobs of the same registry are mounted. Tags are set last. Run an interrupted copy
    again: it continues. No home is needed; if there is one, its records of remotes apply.

    Example: entrepot copy registry.example/app second.example/app --newest 5
    """
    settings = settings_of(home)
    with opened(home) if settings.has_catalog else nullcontext() as catalog:
        result = asyncio.run(_copy(request, settings, catalog))
    if as_json:
        print_json(result.to_json())
    else:
        _print_copied(result)
    say_remarks(result.notes, result.failed)


async def _copy(request: "CopyRequest", settings: "Settings", catalog: "Catalog | None") -> "CopyResult":
    from catalog.remotes.clients import Upstreams
    from cli.progress_bar import show_progress, tell_progress
    from flows.copy.procedure import open_copy, run_copy
    from flows.runs.progress import Progress

    progress = Progress()
    shown = asyncio.create_task((show_progress if sys.stderr.isatty() else tell_progress)(progress))
    try:
        async with Upstreams(settings, catalog.remotes if catalog else None) as upstreams:
            return await run_copy(await open_copy(request, settings, upstreams, progress))
    finally:
        shown.cancel()
        with suppress(asyncio.CancelledError):
            await shown


def _print_copied(result: "CopyResult") -> None:
    from flows.runs.plan_tables import CHANGE_HEADS, change_rows

    print_changes(CHANGE_HEADS, change_rows(result.items), result.summary())
