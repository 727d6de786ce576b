"""Questions answered as Arrow tables in memory."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.ipc

from catalog.query.question import Limits, Question
from catalog.query.run import Asking
from catalog.settings import Settings


def ask_table(
    settings: Settings, question: Question, limits: Limits, *, prepare: Callable[[], object] | None = None
) -> pa.Table:
    """Answer a question as a table in memory; `prepare` as of Asking."""
    with Asking(settings, question, limits, "arrow", prepare=prepare) as asking, asking.answer().file as file:
        return pyarrow.ipc.open_stream(file).read_all()
