"""Splits work into chunks, about one for each worker slot; pure, and the same for the same input."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flows.sync.request import SyncRequest

UNKNOWN_TAGS = 20
"""Tags that a repository is taken to have that nothing is known of."""
BASE_WORK = 2
"""Requests that a repository costs besides those for its tags."""
MAX_BYTES = 256 * 1024
"""Bytes of the parameters of one chunk; Prefect takes twice as many."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What is not split further: the estimated work (in requests), and the size as a parameter in bytes."""

    key: str
    work: int = 1
    size: int = 0


@dataclass(order=True, slots=True)
class _Chunk:
    work: int
    number: int
    size: int = field(default=0, compare=False)
    keys: list[str] = field(default_factory=list, compare=False)


def estimate_work(request: SyncRequest, tags_here: int) -> int:
    """Estimate the requests of a sync, where so many tags are held here; 0 tags: nothing is known."""
    tags = 1 if request.pinned else len(request.wanted.tags.named or ()) or tags_here or UNKNOWN_TAGS
    return (BASE_WORK + tags) * len(request.each_alone())


def plan_chunks(portions: Iterable[Portion], count: int, *, max_bytes: int = MAX_BYTES) -> tuple[tuple[str, ...], ...]:
    """Return the keys of each chunk, those with most work first: at most `count` chunks, more only to keep to `max_bytes`.

    The portion with most work goes where least is so far. Source: Graham, "Bounds on multiprocessing timing anomalies" (LPT):
    no chunk has more than 4/3 of the work that the best split would give it.
    """
    ordered = sorted(portions, key=lambda one: (-one.work, one.key))
    chunks = [_Chunk(0, number) for number in range(max(1, min(count, len(ordered))))]
    full: list[_Chunk] = []
    for portion in ordered:
        while chunks and chunks[0].keys and chunks[0].size + portion.size > max_bytes:
            full.append(heapq.heappop(chunks))
        if not chunks:
            chunks.append(_Chunk(0, len(full)))
        chunk = chunks[0]
        chunk.keys.append(portion.key)
        heapq.heapreplace(
            chunks, _Chunk(chunk.work + portion.work, chunk.number, chunk.size + portion.size, chunk.keys)
        )
    made = sorted([*full, *chunks], key=lambda one: one.number)
    return tuple(tuple(one.keys) for one in made if one.keys)


def chunk_key(parent: str, number: int, content: str) -> str:
    """Return the idempotency key of a chunk's flow run: a chunk that is asked for again is the same run."""
    return f"{parent}-{number}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def by_number(chunks: Sequence[tuple[str, ...]], first: int) -> list[tuple[int, tuple[str, ...]]]:
    """Return the chunks with their numbers, from `first` on."""
    return list(enumerate(chunks, first))
