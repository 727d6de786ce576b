"""What a process holds while it runs: memory, descriptors, threads; and whether that grows."""

import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One look at a process; `at` is in seconds since the first."""

    at: float
    memory: int
    descriptors: int
    threads: int


def look_at(pid: int, at: float) -> Sample:
    """Look once; raise OSError where the process has ended."""
    folder = Path("/proc") / str(pid)
    fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    descriptors = len(list((folder / "fd").iterdir()))
    return Sample(at, int(fields["VmRSS"].split()[0]) * 1024, descriptors, int(fields["Threads"]))


class Sampler:
    """Looks at a process twice a second until it is left; a context manager. `tell` gets a line for each whole minute."""

    def __init__(self, pid: int, *, tell: Callable[[str], object] = lambda _line: None) -> None:
        self._pid, self._ended, self._tell = pid, threading.Event(), tell
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        begun, minutes = time.monotonic(), 0
        while not self._ended.wait(0.5):
            try:
                sample = look_at(self._pid, time.monotonic() - begun)
            except (OSError, KeyError):
                self._tell(f"{time.monotonic() - begun:.0f} s: the process has ended")
                return
            if sample.at >= 60 * (minutes + 1):
                self._tell(minute_line(minutes, self.samples))
                minutes += 1
            self.samples.append(sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()


def minute_line(minute: int, samples: Iterable[Sample]) -> str:
    """Return the medians of one minute, which is counted from 0, for people. Pure."""
    found = [one for one in samples if 60 * minute <= one.at < 60 * (minute + 1)]
    if not found:
        return f"minute {minute + 1}: no samples"
    memory, descriptors, threads = (
        statistics.median(values)
        for values in zip(*((one.memory, one.descriptors, one.threads) for one in found), strict=True)
    )
    return f"minute {minute + 1}: {memory / MEGABYTE:.1f} MiB, {descriptors:.0f} descriptors, {threads:.0f} threads"


@dataclass(frozen=True)
class Growth:
    """How much more a process holds in the last third of its samples than in the second, by their medians."""

    memory: float
    descriptors: float
    threads: float
    memory_per_minute: float
    """Bytes, by the median of the slopes between samples that lie a third apart."""

    def __str__(self) -> str:
        return (
            f"memory {self.memory / MEGABYTE:+.1f} MiB ({self.memory_per_minute / MEGABYTE:+.2f} MiB a minute), "
            f"descriptors {self.descriptors:+.0f}, threads {self.threads:+.0f}"
        )


def growth_of(samples: Sequence[Sample]) -> Growth:
    """Compare the last two thirds; the first is the warm-up. Pure."""
    third = len(samples) // 3
    assert third >= 5, f"{len(samples)} samples are too few"
    second, last = samples[third : 2 * third], samples[2 * third :]
    slopes = [(b.memory - a.memory) / (b.at - a.at) * 60 for a, b in zip(second, last, strict=False)]

    def more(read: Callable[[Sample], int]) -> float:
        return float(statistics.median(map(read, last)) - statistics.median(map(read, second)))

    return Growth(
        more(lambda one: one.memory),
        more(lambda one: one.descriptors),
        more(lambda one: one.threads),
        statistics.median(slopes),
    )
