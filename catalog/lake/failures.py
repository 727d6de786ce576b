"""Which errors of DuckDB may pass by themselves: those of a database that another machine is to answer for."""

import duckdb

_PASSING = (
    "in a read-only transaction",  # a write to a standby
    "Connection pool timeout",  # a thread that found no connection free
    "Unable to connect to Postgres",
    "the database system is ",  # starting up, shutting down, in recovery mode
    "terminating connection",
    "server closed the connection",
    "onnection refused",
)
_LASTING = ("authentication failed", "does not exist")


def may_pass_by_itself(error: duckdb.Error) -> bool:
    """Return whether an error of a lake in PostgreSQL may pass by itself: the server, or the bucket, did not answer."""
    if isinstance(error, duckdb.IOException | duckdb.TransactionException | duckdb.FatalException):
        return True
    text = str(error)
    return any(words in text for words in _PASSING) and not any(words in text for words in _LASTING)


def first_line(error: Exception) -> str:
    """Return what DuckDB says first; suggestions follow it."""
    return str(error).partition("\n")[0]
