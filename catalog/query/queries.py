"""Questions about the catalogue: in SQL, or for images by platform, label and annotation."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from catalog.lake.connection import Lake
from catalog.query.images import ImageFilter, ImageRow, find_images
from catalog.query.question import Format, Limits, Question
from catalog.query.run import Asking, limits_of
from catalog.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa


class Queries:
    """Answers questions, reading only; usable from any thread."""

    def __init__(self, settings: Settings, lake: Lake, prepare: Callable[[], object]) -> None:
        """Take what brings the search index up to date, which questions about packages call."""
        self._settings, self._lake, self._prepare = settings, lake, prepare

    def run(self, sql: str, *, max_rows: int | None = None, timeout: float | None = None) -> "pa.Table":
        """Return the answer to a question in SQL, after `timeout` seconds and `max_rows` rows at most; raise QueryInvalid."""
        from catalog.query.tables import ask_table  # it loads Arrow, which a serving process does not need otherwise

        limits = limits_of(self._settings).changed(rows=max_rows, timeout=timeout)
        return ask_table(self._settings, Question(sql), limits, prepare=self._prepare)

    def start(self, question: Question, limits: Limits, form: Format) -> Asking:
        """Return a question on its way, to be answered into a file."""
        return Asking(self._settings, question, limits, form, prepare=self._prepare)

    def images(self, condition: ImageFilter) -> Sequence[ImageRow]:
        """Return images that repositories have taken in; whether a version still has one, its snapshot tells. One query."""
        return find_images(self._lake, condition)
