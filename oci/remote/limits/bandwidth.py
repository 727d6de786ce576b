"""Bytes a second: what is read goes out of a bucket that fills evenly; who finds it empty waits until it is full enough."""

from dataclasses import dataclass

BURST = 0.25
"""Seconds' worth of bytes that may come at once after a pause."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Bytes that may pass at once; less than none where more has passed than was there."""

    level: float = 0.0
    at: float = 0.0


def take(bucket: Bucket, count: int, *, now: float, rate: float) -> tuple[Bucket, float]:
    """Return the bucket once `count` bytes have passed, and the seconds to wait before the next may."""
    level = min(BURST * rate, bucket.level + (now - bucket.at) * rate) - count
    return Bucket(level, now), max(0.0, -level / rate)
