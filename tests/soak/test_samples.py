"""What counts as growth: not noise, and not the warm-up. What is told of it, and of failures."""

from collections import Counter

from tests.soak.failures import SETTLES, failure_lines, fault_at
from tests.soak.load import Seen
from tests.soak.samples import MEGABYTE, Sample, growth_of, minute_line


def test_noise_and_a_warm_up_are_no_growth() -> None:
    warming = [Sample(at * 0.5, (100 + 2 * at) * MEGABYTE, at, 5) for at in range(30)]
    steady = [Sample(at * 0.5, 200 * MEGABYTE + at % 3 * 4096, 30, 20) for at in range(30, 90)]
    growth = growth_of([*warming, *steady])
    assert abs(growth.memory_per_minute) < MEGABYTE / 10
    assert (growth.descriptors, growth.threads) == (0, 0)


def test_a_leak_is_told_by_the_minute() -> None:
    growth = growth_of([Sample(at * 0.5, (200 + at) * MEGABYTE, 50 + at, 20) for at in range(90)])
    assert round(growth.memory_per_minute / MEGABYTE) == 120
    assert growth.descriptors == 30


def test_a_minute_is_told_by_its_medians() -> None:
    samples = [Sample(float(at), (200 + at) * MEGABYTE, 50 + at, 20) for at in range(120)]
    assert minute_line(0, samples) == "minute 1: 229.5 MiB, 80 descriptors, 20 threads"
    assert minute_line(1, samples).startswith("minute 2: 289.5 MiB")
    assert minute_line(2, samples) == "minute 3: no samples"


def test_failures_are_told_by_the_fault_that_explains_them() -> None:
    faulty = [(100.0, 110.0, "the database is cut off"), (200.0, 210.0, "upstream answers 503")]
    assert fault_at(110 + SETTLES, faulty) == "the database is cut off"
    assert fault_at(111 + SETTLES, faulty) is None
    seen = Seen(
        Counter(),
        {
            "soak-1": (105.0, 503, "GET http://r/v2/app/manifests/a"),
            "soak-2": (106.0, 503, "GET http://r/v2/app/manifests/b"),
            "soak-3": (205.0, 502, "GET http://r/v2/cache/team/app/manifests/v1"),
            "soak-4": (300.0, 500, "PUT http://r/v2/app/manifests/a"),
        },
        lost=[(105.0, "pull: ReadError('')")],
    )
    assert list(failure_lines(seen, faulty)) == [
        "the database is cut off: 2 x 503 of ours, 1 x lost, pull: ReadError",
        "upstream answers 503: 1 x 502 of a cache",
        "without a fault: 1 x 500 of ours",
    ]
