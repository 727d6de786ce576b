"""The log of a serving process: events as lines of text or of JSON, and the access log beside it."""

import json
import logging
import sys
from datetime import datetime

from catalog.settings import Settings
from oci.traces.spans import active
from oci.unicode import clean_text
from registry_api.metrics.access_log import set_up_access_log


class OneLine(logging.Formatter):
    """One line for each event: paths and names that clients send cannot begin another. A traceback of ours follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """Return the line, control characters escaped."""
        return clean_text(super().formatMessage(record), longest=10_000)


class JsonLines(logging.Formatter):
    """A formatter of the log of events: one JSON object a line, a traceback in a field of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event."""
        fields = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": clean_text(record.getMessage(), longest=10_000),
        }
        if (tracing := active()) is not None and (trace_id := tracing.current_trace_id()):
            fields["trace_id"] = trace_id
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up_logging(settings: Settings) -> None:
    """Log to standard error, one line per event with its facts as key=value; requests where the settings say so."""
    handler = logging.StreamHandler(sys.stderr)
    text = OneLine("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("uvicorn.error", "botocore", "httpx"):  # httpx tells addresses, of which some are signed
        logging.getLogger(noisy).setLevel(logging.WARNING)
    set_up_access_log()
