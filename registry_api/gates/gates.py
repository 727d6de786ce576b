"""The gates of one serving process: a view for each path that a rule is about, made on a thread and kept in memory."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.catalog import Catalog
from catalog.gates.verdicts import ContentGate, join_verdicts
from catalog.versions.snapshot import Snapshot
from registry_api.bounded_cache import BoundedCache
from registry_api.gates.pull_view import PullView, warning_header

_VIEWS = 512
"""Paths whose views are in memory."""
_OPEN = 20_000
"""Paths that no rule is about, as far as memory knows."""
_ALWAYS = datetime.max.replace(tzinfo=UTC)

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: Stamp
    view: PullView


class Gates:
    """Answers what a path serves now. `find` reads, so use a thread; all else belongs on an event loop."""

    def __init__(self, catalog: Catalog, gates: Sequence[ContentGate], now: Callable[[], datetime]) -> None:
        self._catalog, self._gates, self._now = catalog, gates, now
        self._views: BoundedCache[str, _Known] = BoundedCache(_VIEWS)
        self._open: BoundedCache[str, Stamp] = BoundedCache(_OPEN)
        self._making = threading.Lock()
        self._serials = itertools.count(1)

    @property
    def active(self) -> bool:
        """Return whether any gate has a rule; no I/O."""
        for gate in self._gates:  # noqa: SIM110  # `any` takes three times as long, on every pull
            if gate.active:
                return True
        return False

    @property
    def stamp(self) -> Stamp:
        """Return another value as soon as a rule is another one, or versions were deleted; no I/O."""
        return (self._catalog.snapshots.drops, *[gate.changes for gate in self._gates])

    def cover(self, path: str, repository: str) -> bool:
        """Return whether a rule is about what a path serves, which may change by itself then; no I/O."""
        return any(gate.active and gate.covers(path, repository) for gate in self._gates)

    def is_open(self, path: str) -> bool:
        """Return whether memory knows that no rule is about a path; no I/O."""
        return self._open.get(path) == self.stamp

    def cached(self, path: str, base: Snapshot) -> PullView | None:
        """Return the view of a version at a path, if memory has it and it still is so; no I/O."""
        known = self._views.get(path)
        if known is None or known.stamp != self.stamp or self._now() >= known.view.until:
            return None
        held = known.view.base
        is_same = held is base or (held.repository, held.version) == (base.repository, base.version)
        return known.view if is_same else None

    def find(self, path: str, rights_path: str, base: Snapshot) -> PullView | None:
        """Return the view of a version at a path, None where no rule is about it; `rights_path` is what rules name it by.

        Raises CatalogUnusable when the catalogue cannot be read: then nothing is served.
        """
        with self._making:
            known = self.cached(path, base)
            if known is not None:
                return known
            stamp = self.stamp
            gates = [gate for gate in self._gates if gate.active and gate.covers(rights_path, base.repository)]
            if not gates:
                self._open.put(path, stamp)
                return None
            view = self._make(gates, rights_path, base)
            self._views.put(path, _Known(stamp, view))
            return view

    def _make(self, gates: Sequence[ContentGate], rights_path: str, base: Snapshot) -> PullView:
        """Return a view. 1. Read the repository's facts. 2. Ask each gate for verdicts. 3. Select what passes."""
        catalog, now = self._catalog, self._now()
        facts = catalog.facts.read(base.repository, base.version, drops=catalog.snapshots.drops)
        verdicts = join_verdicts([gate.judge(rights_path, base, facts, now) for gate in gates])
        blobs = catalog.facts.only_parts_of(facts, list(verdicts.refused))
        passing = catalog.passing.make(base, facts, verdicts.refused, blobs)
        return PullView(
            base,
            passing.snapshot,
            next(self._serials),
            verdicts.until or _ALWAYS,
            verdicts.refused,
            passing.refused_tags,
            blobs,
            passing.stepped_back,
            {digest: tuple(map(warning_header, texts)) for digest, texts in verdicts.warnings.items()},
        )
