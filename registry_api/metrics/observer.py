"""Takes note of each request that is over: adds it to the counts, and writes its line of the access log."""

from collections.abc import Callable
from datetime import datetime
from time import perf_counter

from starlette.types import Scope

from catalog.settings import Settings
from registry_api.http.exchange import Exchange
from registry_api.metrics.access_log import AccessLog
from registry_api.metrics.requests import RequestCounts


class Observer:
    """What a process knows of its requests."""

    def __init__(self, settings: Settings, now: Callable[[], datetime], make_id: Callable[[], str]) -> None:
        self.counts = RequestCounts()
        self._count = self.counts.count
        self._access_log = None if settings.access_log == "off" else AccessLog(settings.access_log, now, make_id)

    def finish(self, scope: Scope, exchange: Exchange) -> None:
        """Take note of a request that is over."""
        seconds = perf_counter() - exchange.began
        self._count((exchange.route, scope["method"], exchange.status), exchange.sent, seconds)
        if self._access_log is not None:
            self._access_log.write(scope, exchange, seconds)
