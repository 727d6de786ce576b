"""Metrics in Prometheus's text format; loaded by the first scrape, since nothing else needs its library."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.registry import Collector

from registry_api.metrics.families import GAUGES, NUMBERS, PREFIX, REQUESTS, SECONDS, SENT
from registry_api.metrics.requests import BOUNDS, Key, Series
from registry_api.metrics.siblings import Counts, Numbers

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0


class _Made(Collector):
    """Families that are made already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> list[Metric]:
        """Return the families."""
        return self._families


def expose(counts: Counts, gauges: Numbers, *, of_process: bool) -> bytes:
    """Return the page of a scrape; with what the process itself tells, where there is one alone."""
    shown = CollectorRegistry()
    shown.register(_Made((*request_families(counts.requests), *number_families(counts), *gauge_families(gauges))))
    if of_process:
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=shown)
    return generate_latest(shown)


def request_families(series: dict[Key, Series]) -> Iterator[Metric]:
    """Give the families of requests."""
    requests = CounterMetricFamily(PREFIX + REQUESTS.name, REQUESTS.meaning, labels=REQUESTS.labels)
    sent = CounterMetricFamily(PREFIX + SENT.name, SENT.meaning, labels=SENT.labels)
    seconds = HistogramMetricFamily(PREFIX + SECONDS.name, SECONDS.meaning, labels=SECONDS.labels)
    by_route: dict[str, int] = {}
    timed: dict[tuple[str, str], Series] = {}
    for (route, method, status), one in sorted(series.items()):
        requests.add_metric([route, method, str(status)], one.count)
        by_route[route] = by_route.get(route, 0) + one.bytes
        timed.setdefault((route, method), Series()).add(one)
    for route, size in by_route.items():
        sent.add_metric([route], size)
    for labels, one in timed.items():
        seconds.add_metric(list(labels), _buckets(one), one.seconds)
    yield from (requests, sent, seconds)


def _buckets(series: Series) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), series.classes, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def number_families(counts: Counts) -> Iterator[Metric]:
    """Give the families of all other counters."""
    for family in NUMBERS:
        metric = CounterMetricFamily(PREFIX + family.name, family.meaning, labels=family.labels)
        for (name, *labels), value in sorted(counts.numbers.items()):
            if name == family.name:
                metric.add_metric(labels, value)
        yield metric


def gauge_families(values: Numbers) -> Iterator[Metric]:
    """Give the gauges, of values by name and labels."""
    for family in GAUGES:
        metric = GaugeMetricFamily(PREFIX + family.name, family.meaning, labels=family.labels)
        for (name, *labels), value in values.items():
            if name == family.name:
                metric.add_metric(labels, value)
        yield metric
