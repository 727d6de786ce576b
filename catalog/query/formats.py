"""Answers written as JSON, lines of JSON, CSV, Parquet or an Arrow stream, batch by batch."""

import csv
import io
import json
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.ipc

from catalog.query.question import Format
from catalog.units import format_time
from oci.errors import QueryInvalid


class Form(Protocol):
    """Writes an answer; `close` completes it."""

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


def open_form(form: Format, schema: pa.Schema, out: BinaryIO) -> Form:
    """Begin an answer; raise QueryInvalid when the form cannot hold a column of it."""
    try:
        return _FORMS[form](schema, out)
    except (pa.ArrowException, NotImplementedError) as error:
        raise QueryInvalid(f"the answer cannot be written as {form}: {error}; cast the column to VARCHAR") from None


class _Json:
    """One array of objects."""

    _before, _between, _after = b"[", b",\n", b"]\n"

    def __init__(self, schema: pa.Schema, out: BinaryIO) -> None:
        self._names, self._out, self._begun = schema.names, out, False
        out.write(self._before)

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist(maps_as_pydicts="lossy"):
            if self._begun:
                self._out.write(self._between)
            self._begun = True
            self._out.write(json.dumps(row, default=plain, ensure_ascii=False).encode())

    def close(self) -> None:
        self._out.write(self._after)


class _Lines(_Json):
    """One object a line."""

    _before, _between, _after = b"", b"\n", b""

    def close(self) -> None:
        if self._begun:
            self._out.write(b"\n")


class _Csv:
    """A line of names, then a line a row (RFC 4180); lists and maps are JSON."""

    def __init__(self, schema: pa.Schema, out: BinaryIO) -> None:
        self._text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text)
        self._rows.writerow(schema.names)

    def write(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist(maps_as_pydicts="lossy"):
            self._rows.writerow([_cell(value) for value in row.values()])

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


class _Parquet:
    def __init__(self, schema: pa.Schema, out: BinaryIO) -> None:
        import pyarrow.parquet  # 50 ms that answers in other forms need not take

        self._writer = pyarrow.parquet.ParquetWriter(out, schema, compression="zstd")

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Arrow:
    def __init__(self, schema: pa.Schema, out: BinaryIO) -> None:
        self._writer = pyarrow.ipc.new_stream(out, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


_FORMS: dict[Format, Callable[[pa.Schema, BinaryIO], Form]] = {
    "json": _Json,
    "ndjson": _Lines,
    "csv": _Csv,
    "parquet": _Parquet,
    "arrow": _Arrow,
}


def plain(value: object) -> object:
    """Return the JSON form of a value that has none: RFC 3339 for times (in UTC if they have a zone), hex for bytes."""
    if isinstance(value, datetime | date):
        return format_time(value) if isinstance(value, datetime) and value.tzinfo else value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.hex() if isinstance(value, bytes) else str(value)


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, default=plain, ensure_ascii=False)
    if value is None or isinstance(value, str | int | float):
        return value
    return plain(value)
