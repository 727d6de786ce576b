"""`entrepot remote`: how Entrepôt connects to the registries it pulls from."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.units import format_size
from cli.catalog import opened
from cli.options import Home, Json, new_group
from cli.output import Cell, print_fields, print_json, print_line, print_table, row_json, time_text

if TYPE_CHECKING:
    from catalog.catalog import Catalog
    from catalog.remotes.records import RemoteRecord
    from oci.remote.limits.budget import Budget

group = new_group("Manage connections to the registries content comes from.")
ACTOR = "command line"
Key = Annotated[
    str, typer.Argument(metavar="REGISTRY", help="host[:port], or host[:port]/prefix for a part of its names.")
]


@group.command("list")
def list_remotes(*, home: Home = None, as_json: Json = False) -> None:
    """List recorded remotes by registry.

    Example: entrepot remote list
    """
    with opened(home) as catalog:
        found = catalog.remotes.all()
    if as_json:
        print_json([_json(one) for one in found])
        return
    print_table(
        ("REGISTRY", "PROXY", "TLS", "POLICY", "DESCRIPTION"),
        [(one.key, one.proxy, _tls_text(one), one.policy, one.description) for one in found],
    )


@group.command("show")
def show_remote(key: Key, *, home: Home = None, as_json: Json = False) -> None:
    """Show one remote and the rate limits it last sent.

    Example: entrepot remote show registry.example
    """
    from catalog.remotes.budget_stores import open_budget
    from catalog.remotes.records import parse_key

    name = parse_key(key)
    with opened(home) as catalog:
        budget = open_budget(catalog.settings.root, name, catalog.state).read()
        is_known = budget != type(budget)()
        found = catalog.remotes.find(name) if is_known else catalog.remotes.get(name)
    now = time.time()
    if as_json:
        print_json({**(_json(found) if found else {"key": name}), "budget": _budget_json(budget, now)})
        return
    print_fields({**(_fields(found) if found else {"registry": name}), **_budget_fields(budget, now)})


@group.command("set")
def set_remote(
    key: Key,
    *,
    description: Annotated[str | None, typer.Option(help="A remark for people.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="POLICY", help="Download policy of syncs that name none: immediate, on_demand or streamed."
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Proxy instead of ENTREPOT_PROXY: a URL, env:NAME, file:/PATH, or `none` to use none."
        ),
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM file of further authorities to trust for it.")
    ] = None,
    client_cert: Annotated[str | None, typer.Option(metavar="FILE", help="PEM file of our certificate.")] = None,
    client_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="PEM file of its key, where the certificate's does not hold it.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=REFERENCE",
            help="Send this header; its value comes from env:NAME or file:/PATH. Repeatable; replaces all headers.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(metavar="N", help="Limit concurrent requests per process; 0: as the settings say.", min=0),
    ] = None,
    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Bytes of blobs a second of one process: 500kB, 10MB; 0: no limit."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/TIME", help="Requests in a time, of all processes of this home together: 100/6h."),
    ] = None,
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REGISTRY[,digest-only]",
            help="Ask this mirror of the registry first. Repeatable, in order; replaces all mirrors.",
        ),
    ] = None,
    lookaside: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL of its Atomic signatures, as in containers-registries.d."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Record or change how to connect to a registry.

    What no option names stays, and '' empties it.

    It counts for the next request of a registry that runs, and for the next run of a flow. The record of the longest prefix that
    fits is the one that counts.

    Example: entrepot remote set docker.io --policy on_demand
    """
    from catalog.remotes.records import RemoteRecord, check_record, parse_key
    from catalog.units import parse_size

    now = datetime.now(UTC)
    wanted: dict[str, object] = {
        "description": description,
        "policy": policy,
        "proxy": proxy,
        "ca_file": _absolute(ca_file),
        "client_cert": _absolute(client_cert),
        "client_key": _absolute(client_key),
        "headers": _read_headers(header),
        "concurrency": concurrency,
        "rate": rate,
        "bandwidth": None if bandwidth is None else parse_size(bandwidth or "0"),
        "lookaside": lookaside,
        "mirrors": None if mirror is None else tuple(filter(None, mirror)),
    }
    given = {name: value for name, value in wanted.items() if value is not None}
    with opened(home, may_be_new=True) as catalog:
        old = catalog.remotes.find(parse_key(key))
        made = replace(old or RemoteRecord(parse_key(key), now, now), **given, updated_at=now)  # type: ignore[arg-type]
        write_remote(catalog, check_record(made))
    if as_json:
        print_json(_json(made))
    else:
        print_line(f"{'changed' if old else 'created'}: {made.key}")


@group.command("delete")
def delete_remote(key: Key, *, home: Home = None, as_json: Json = False) -> None:
    """Delete a remote's record; the settings apply then.

    Example: entrepot remote delete registry.example
    """
    from catalog.remotes.records import parse_key

    with opened(home) as catalog:
        found = catalog.remotes.get(parse_key(key))
        drop_remote(catalog, found.key)
    print_json(_json(found)) if as_json else print_line(f"deleted: {found.key}")


def write_remote(catalog: "Catalog", made: "RemoteRecord") -> None:
    """Write a record with its audit event; raise InvalidInput, also for a file that it names and that is of no use."""
    from catalog.remotes.options import check_files

    check_files(made)
    catalog.remotes.put(made, actor=ACTOR)
    _record(catalog, "set-remote", made.key)


def drop_remote(catalog: "Catalog", key: str) -> None:
    """Delete a record with its audit event; raise RemoteUnknown."""
    catalog.remotes.delete(key, actor=ACTOR)
    _record(catalog, "delete-remote", key)


def _record(catalog: "Catalog", action: str, key: str) -> None:
    from catalog.audit import Event

    catalog.events.record([Event(datetime.now(UTC), ACTOR, action, key)])


def _absolute(path: str | None) -> str | None:
    return str(Path(path).expanduser().absolute()) if path else path


def _read_headers(texts: list[str] | None) -> tuple[tuple[str, str], ...] | None:
    from oci.errors import InvalidInput

    if texts is None:
        return None
    pairs = [text.partition("=") for text in texts if text]
    if not all(equals for _, equals, _ in pairs):
        raise InvalidInput("a header is NAME=REFERENCE, the reference env:NAME or file:/PATH")
    return tuple((name, reference) for name, _, reference in pairs)


def _json(one: "RemoteRecord") -> dict[str, object]:
    return {**row_json(one), "headers": dict(one.headers)}


def _budget_json(budget: "Budget", now: float) -> dict[str, object]:
    from oci.remote.limits.budget import remaining_at

    waits = max(budget.closed_until, budget.calm_until)
    return {
        "limit": budget.limit or None,
        "window": budget.window or None,
        "remaining": int(remaining_at(budget, now)) if budget.limit else None,
        "resets_at": datetime.fromtimestamp(budget.resets_at, UTC) if budget.resets_at > now else None,
        "paused_until": datetime.fromtimestamp(waits, UTC) if waits > now else None,
    }


def _budget_fields(budget: "Budget", now: float) -> dict[str, Cell]:
    """Return the limits that upstream last sent, as far as it did."""
    told = _budget_json(budget, now)
    window = f" in {budget.window:.0f} s" if budget.window else ""
    shown: dict[str, Cell] = {}
    if told["limit"]:
        shown = {"allowed": f"{budget.limit} requests{window}", "remaining": str(told["remaining"])}
    for name, text in (("resets_at", "until"), ("paused_until", "paused until")):
        when = told[name]
        if isinstance(when, datetime):
            shown[text] = time_text(when)
    return shown


def _tls_text(one: "RemoteRecord") -> str:
    return " ".join(filter(None, ("own authority" if one.ca_file else "", "certificate" if one.client_cert else "")))


def _fields(one: "RemoteRecord") -> dict[str, Cell]:
    return {
        "registry": one.key,
        "description": one.description,
        "policy": one.policy,
        "proxy": one.proxy,
        "CA file": one.ca_file,
        "client certificate": one.client_cert,
        "client key": one.client_key,
        "headers": " ".join(f"{name}={reference}" for name, reference in one.headers),
        "concurrency": one.concurrency or "",
        "mirrors": " ".join(one.mirrors),
        "rate": one.rate,
        "bandwidth": f"{format_size(one.bandwidth)} a second" if one.bandwidth else "",
        "created": time_text(one.created_at),
        "updated": time_text(one.updated_at),
    }
