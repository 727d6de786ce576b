"""The access log: a line for each request, in the form of web servers or as JSON; never a query, which may hold secrets."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from starlette.types import Scope

from oci.unicode import clean_text
from registry_api.auth.access_controller import address_of
from registry_api.http.exchange import Exchange
from registry_api.http.messages import find_header

log = logging.getLogger("registry_api.access")
_LONGEST = 2000


class AccessLog:
    """Writes a line for each request that is over."""

    def __init__(
        self, form: Literal["common", "json"], now: Callable[[], datetime], make_id: Callable[[], str]
    ) -> None:
        self._write = _json_line if form == "json" else _common_line
        self._now, self._make_id = now, make_id

    def write(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        """Write the line of one request."""
        exchange.named(scope, self._make_id)
        log.info("%s", self._write(scope, exchange, seconds, self._now()))


def set_up_access_log() -> None:
    """Send the lines to standard error as they are, apart from the log of events."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)


def _path(scope: Scope) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return clean_text(raw.decode("latin-1").replace('"', "%22"), longest=_LONGEST)


def _header(scope: Scope, name: bytes) -> str:
    value = find_header(scope, name)
    return "" if value is None else clean_text(value.decode("latin-1"), longest=_LONGEST)


def _common_line(scope: Scope, exchange: Exchange, seconds: float, now: datetime) -> str:
    """Return a line of the Combined Log Format, then the seconds, the request's id, and that of its trace, if any."""
    user = clean_text(exchange.account, longest=_LONGEST).replace(" ", "%20") or "-"
    agent = _header(scope, b"user-agent").replace("\\", "\\\\").replace('"', '\\"') or "-"
    trace = f" {exchange.trace_id}" if exchange.trace_id else ""
    return (
        f"{address_of(scope) or '-'} - {user} [{now:%d/%b/%Y:%H:%M:%S %z}] "
        f'"{scope["method"]} {_path(scope)} HTTP/{scope["http_version"]}" {exchange.status} {exchange.sent} '
        f'"-" "{agent}" {seconds:.6f} {exchange.request_id}{trace}'
    )


def _json_line(scope: Scope, exchange: Exchange, seconds: float, now: datetime) -> str:
    return json.dumps(
        {
            "time": now.isoformat(timespec="milliseconds"),
            "level": "INFO",
            "logger": log.name,
            "address": address_of(scope),
            "user": exchange.account,
            "method": scope["method"],
            "path": _path(scope),
            "route": exchange.route,
            "status": exchange.status,
            "bytes": exchange.sent,
            "seconds": round(seconds, 6),
            "user_agent": _header(scope, b"user-agent"),
            "request_id": exchange.request_id,
            **({"trace_id": exchange.trace_id} if exchange.trace_id else {}),
        },
        ensure_ascii=False,
    )
