"""What a pull asks of memory: which version a path serves, and whether that may have changed."""

import hashlib
from collections.abc import Iterable

from catalog.distributions.records import Distribution, Distributions
from catalog.versions.history import History
from catalog.versions.snapshot import Snapshot
from catalog.versions.snapshot_cache import Snapshots
from catalog.versions.time_travel import TimeTravel


class Serving:
    """Finds what paths serve; usable from any thread. Only `state` and `cached` belong on an event loop."""

    def __init__(
        self, snapshots: Snapshots, time_travel: TimeTravel, distributions: Distributions, history: History
    ) -> None:
        self._snapshots, self._time_travel = snapshots, time_travel
        self._distributions, self._history = distributions, history

    @property
    def is_shared(self) -> bool:
        """Return whether other machines commit, so that `confirm` says what memory lacks; no I/O."""
        return self._snapshots.is_shared

    async def confirm_on_loop(self) -> None:
        """Know whether others have committed before the call, which `is_current` then says; raise CatalogUnavailable."""
        await self._snapshots.confirm_on_loop()

    @property
    def looked_at(self) -> float:
        """Return since when `is_current` is right, and what is known of accounts and rules: by `time.monotonic`; no I/O."""
        return self._snapshots.looked_at

    def look(self) -> None:
        """Make both right until now, without the listener; raise CatalogUnusable."""
        self._snapshots.look()

    def is_current(self) -> bool:
        """Return whether memory knows all that others are known to have committed; no I/O."""
        return self._snapshots.is_current()

    def learn(self) -> None:
        """Read what others are known to have committed; raise CatalogUnusable."""
        self._snapshots.learn()

    def set_cut_off(self, is_cut_off: bool) -> None:
        """Serve what memory has, though others have committed since, until the database answers again."""
        self._snapshots.is_cut_off = is_cut_off

    def holds(self, path: str, reference: str) -> bool:
        """Return whether memory has a path's version, as far as it knows, with a manifest or blob of that digest; no I/O."""
        found = self.cached(path)
        return found is not None and (reference in found.manifests or reference in found.blobs)

    @property
    def state(self) -> tuple[int, int]:
        """Return another value as soon as memory knows of other versions or distributions; no I/O."""
        return self._snapshots.changes, self._distributions.changes

    def cached(self, path: str) -> Snapshot | None:
        """Return what a distribution's path serves, if memory has it and it still is so; None says: call `find`."""
        return self._snapshots.cached_at(path) or self._time_travel.cached(path)

    def find(self, path: str) -> Snapshot | None:
        """Return what a distribution's path serves; None when nothing is served there."""
        return self._snapshots.find_at(path) or self._time_travel.find(path)

    def content_marks(self, served: Iterable[Distribution]) -> dict[str, str]:
        """Return by path a text that changes as soon as the path serves another version; one query."""
        self._snapshots.refresh()
        versions = {one.path: (one.repository, self._snapshots.number_at(one)) for one in served}
        makers = self._history.makers(list(dict.fromkeys(versions.values())))
        texts = {path: f"{name} {number} {makers.get((name, number))}" for path, (name, number) in versions.items()}
        return {path: hashlib.sha256(text.encode()).hexdigest()[:32] for path, text in texts.items()}
