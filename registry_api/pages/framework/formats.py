"""How pages write numbers, sizes, times and digests: short for the eye, exact beside it for who points or listens."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from catalog.settings import Settings
from catalog.units import format_size, format_time

_STEPS = ((60, "s"), (3600, "min"), (86400, "h"), (86400 * 60, "d"), (86400 * 365 * 2, "months"))
NOTHING = "\N{EN DASH}"
"""What stands where nothing is known."""
FLOW_RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The form of a flow run's id."""
_PER = {"s": 1, "min": 60, "h": 3600, "d": 86400, "months": 86400 * 30.44}


def format_age(age: timedelta) -> str:
    """Return how long ago something was, in one unit: `just now`, `5 min ago`, `3 d ago`, `2 years ago`. Pure."""
    seconds = age.total_seconds()
    if seconds < 5:
        return "just now"
    for bound, unit in _STEPS:
        if seconds < bound:
            return f"{int(seconds // _PER[unit])} {unit} ago"
    return f"{int(seconds // (86400 * 365.25))} years ago"


def show_age(moment: datetime | None, now: datetime) -> Markup | str:
    """Return a moment as a `time` element: its age, with the moment itself in its title."""
    if moment is None:
        return NOTHING
    exact = format_time(moment.replace(microsecond=0))
    title = exact.replace("T", " ").replace("Z", " UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, title, format_age(now - moment))


def show_moment(moment: datetime | None) -> Markup | str:
    """Return a moment as a `time` element: date and minute in UTC."""
    if moment is None:
        return NOTHING
    exact = format_time(moment.replace(microsecond=0))
    return Markup('<time datetime="{}">{}</time>').format(exact, exact.replace("T", " ")[:16])


def show_size(count: int | None) -> Markup | str:
    """Return a size with its bytes in the title; a dash where it is not known."""
    if count is None:
        return NOTHING
    number, unit = format_size(count).split(" ")
    return Markup('<data value="{}" title="{} bytes">{}\N{NO-BREAK SPACE}{}</data>').format(
        count, format_count(count), number, unit
    )


def format_count(count: int | None) -> str:
    """Return a number with a narrow blank between thousands; a dash where it is not known. Pure."""
    return NOTHING if count is None else f"{count:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def show_digest(digest: str) -> Markup | str:
    """Return the beginning of a digest, with all of it in the title."""
    if not digest:
        return ""
    algorithm, _, encoded = digest.partition(":")
    return Markup('<code class="digest" title="{}">{}{}</code>').format(
        digest, "" if algorithm == "sha256" else f"{algorithm}:", encoded[:12]
    )


def show_prose(text: str) -> Markup:
    """Return a text whose parts between backticks are code."""
    parts = text.split("`")
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def link_to(page: str, name: str = "", *, query: Mapping[str, object] | None = None) -> str:
    """Return the path of a page about a name, a query's empty values left out; a list stands for each of its values. Pure."""
    path = f"/{page}/{quote(name, safe='/:@')}" if name else f"/{page}"
    given = {key: value for key, value in (query or {}).items() if value not in ("", None)}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def is_local_path(text: str) -> bool:
    """Return whether a text is a path of this site, so that a redirect to it leads to no other host. Pure."""
    return text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and len(text) < 2000


def prefect_ui_url(settings: Settings) -> str:
    """Return the address of Prefect's pages, empty for none that a browser opens. Pure."""
    address = settings.prefect_api_url.rstrip("/").removesuffix("/api")
    return address if address.startswith(("http://", "https://")) else ""
