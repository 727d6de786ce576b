"""The report of space as it is kept. Sizes in bytes."""

from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from catalog.settings import Settings
from catalog.state.documents import StateDocument, open_document
from catalog.state.shared_state import SharedState

MOST_REPOSITORIES = 20_000
"""Repositories, the largest, that a report names."""

_GIVEN_UP = timedelta(hours=1)
"""After which a computation that has not ended is taken for one whose process has died."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RepositorySpace(_Kept):
    """Bytes of all versions of a repository, each blob once; `shared` are those that others hold too."""

    name: str
    bytes: int
    shared: int


class GcForecast(_Kept):
    """What garbage collection would free, and the blobs that only its grace period keeps."""

    blobs: int
    bytes: int
    leased: int
    grace: str


class ReclaimForecast(_Kept):
    """What reclaim would free of all repositories: layers that their upstreams have too."""

    blobs: int
    bytes: int
    keep: str


class RetentionForecast(_Kept):
    """What the rules would remove. `bytes` leave latest versions; they are freed once no version holds them.

    `is_cut`: the time was up before all repositories were judged.
    """

    rules: int
    repositories: int
    tags: int
    manifests: int
    versions: int
    bytes: int
    is_cut: bool


class SpaceTotals(_Kept):
    """What the store holds, what versions use of it, what is left upstream, what none holds, and what sharing saves."""

    held: int
    blobs: int
    used: int
    upstream: int
    loose: int
    saved: int


class SpaceReport(_Kept):
    """The last computation, and the one that is under way. `error` says why the last one failed."""

    started_at: datetime | None = None
    started_by: str = ""
    computed_at: datetime | None = None
    seconds: float = 0.0
    error: str = ""
    totals: SpaceTotals | None = None
    repositories: tuple[RepositorySpace, ...] = ()
    total_repositories: int = 0
    gc: GcForecast | None = None
    reclaim: ReclaimForecast | None = None
    retention: RetentionForecast | None = None

    def is_running(self, now: datetime) -> bool:
        """Return whether a computation is under way. Pure."""
        return self.started_at is not None and now - self.started_at < _GIVEN_UP


class SpaceReports:
    """Reads and writes the report; usable from any thread."""

    def __init__(self, settings: Settings, state: SharedState | None) -> None:
        file = settings.root / "space-report.json"
        self._document: StateDocument[SpaceReport] = open_document(settings, state, "space-report", file, SpaceReport())

    def last(self) -> SpaceReport:
        """Return the report; raise CatalogUnusable."""
        return self._document.value

    def begin(self, actor: str, now: datetime) -> bool:
        """Note that a computation begins; return False where one is under way."""
        began = False

        def change(report: SpaceReport) -> SpaceReport:
            nonlocal began
            began = not report.is_running(now)
            return report.model_copy(update={"started_at": now, "started_by": actor}) if began else report

        self._document.update(change)
        return began

    def end(self, make: Callable[[], SpaceReport]) -> None:
        """Keep what `make` computes; where it raises, keep the last report with the error, and raise."""
        try:
            made = make()
        except Exception as error:
            told = {"started_at": None, "error": f"{type(error).__name__}: {error}"[:500]}
            self._document.update(lambda report: report.model_copy(update=told))
            raise
        self._document.update(lambda _: made)
