"""The process that answers one question: `python -m catalog.query.process`, a line of JSON in, a file and a line of JSON out.

1. The system is asked to limit its memory, its time on the processor and its files, and the statement is checked. 2. The lake and
the record of blobs held are attached, reading only, and the views made. 3. The doors are closed. 4. The answer is written, within
its limits. It ends when its standard input does: with whoever has asked.
"""

import json
import os
import resource
import sys
import threading
from typing import BinaryIO

import duckdb
import pyarrow as pa

from catalog.lake.duckdb_instance import OWN_EXTENSIONS
from catalog.lake.metadata.engine import quoted
from catalog.lake.reading import LakePlace
from catalog.lake.schema import SCHEMA_VERSION
from catalog.query.check import check_question, question_nodes
from catalog.query.formats import open_form
from catalog.query.package_ranges import RANGE_FUNCTIONS, RangeCall, fill_found, find_calls
from catalog.query.package_views import NEEDS_INDEX
from catalog.query.projection import ProjectedRows, find_rows, projection_folder
from catalog.query.question import Limits
from catalog.query.task import Task, load_task
from catalog.query.views import NOW, view_statements
from catalog.search.schema import index_file
from catalog.units import parse_size
from oci.errors import CatalogOutdated, CatalogUnavailable, CatalogUnusable, EntrepotError, QueryInvalid

_BATCH = 10_000
_OVERHEAD = 3 * 2**30
"""Addresses, not memory, that the interpreter, the libraries and their threads take beside what DuckDB is allowed."""


def plan_bounds(limits: Limits, *, cores: int) -> dict[int, int]:
    """Return what the system is to let this process take, by kind of limit: more than it should, less than would hurt. Pure."""
    return {
        resource.RLIMIT_AS: 2 * parse_size(limits.memory) + _OVERHEAD,
        resource.RLIMIT_CPU: int(limits.timeout * (limits.threads or cores)) + 10,
        resource.RLIMIT_FSIZE: max(limits.size * 2, parse_size(limits.spill)) + 2**20,
        resource.RLIMIT_CORE: 0,
    }


def limit_process(limits: Limits) -> None:
    """Have the system end this process when it takes far more than it should: the last resort."""
    for kind, wanted in plan_bounds(limits, cores=os.cpu_count() or 1).items():
        hard = resource.getrlimit(kind)[1]
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (bound, bound))
    os.nice(5)  # who pulls goes first


def open_for_question(task: Task, names: frozenset[str] | None) -> duckdb.DuckDBPyConnection:
    """A connection that sees the views of those names first, then the lake; raise CatalogOutdated or CatalogUnusable."""
    limits, place = task.limits, task.place
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{parse_size(limits.memory)}B",
            "threads": limits.threads or os.cpu_count() or 1,
            "temp_directory": str(task.folder / "spill"),
            "max_temp_directory_size": f"{parse_size(limits.spill)}B",
            "python_enable_replacements": False,
            **OWN_EXTENSIONS,
        },
    )
    try:
        place.attach(connection)
        row = connection.execute("SELECT max(number) FROM lake.schema_versions").fetchone()
        found = int(row[0] or 0) if row else 0
        if found < SCHEMA_VERSION or (found > SCHEMA_VERSION and place.address is None):
            raise CatalogOutdated(f"{place.name} has another schema than this release: {found}, not {SCHEMA_VERSION}")
        has_index = (names is None or "blobs" in names) and place.attach_blob_index(connection)
        has_search = (names is None or bool(names & NEEDS_INDEX)) and _attach_search(connection, place)
        connection.execute("SET TimeZone = 'UTC'")
        projection = _begin(connection, task)
        for statement in view_statements(
            task.question.as_of,
            blob_schema=place.blob_schema if has_index else None,
            has_index=has_search,
            names=names,
            projection=projection,
        ):
            connection.execute(statement)
        connection.execute("SET search_path = 'memory.questions,lake.main'")
    except duckdb.Error as error:
        kind = CatalogUnavailable if _is_away(place, error) else CatalogUnusable
        raise kind(f"cannot read the catalogue {place.name}: {str(error).partition(chr(10))[0]}") from error
    return connection


def _attach_search(connection: duckdb.DuckDBPyConnection, place: LakePlace) -> bool:
    """Attach the search index as `search`, for reading alone. Return False where there is none."""
    file = index_file(place.file)
    if not file.exists():
        return False
    connection.execute(f"ATTACH '{quoted(file)}' AS search (TYPE sqlite, READ_ONLY)")
    return True


def _is_away(place: LakePlace, error: duckdb.Error) -> bool:
    """Return whether another machine did not answer: the question itself reads nothing else that could fail so."""
    return place.address is not None and isinstance(error, duckdb.IOException)


def _begin(connection: duckdb.DuckDBPyConnection, task: Task) -> ProjectedRows | None:
    """Return the SQL of a projection's rows, if one is to be used; what is asked next sees the lake as of this look."""
    folder = projection_folder(task.place.file)
    if task.question.as_of != NOW or not folder.exists():
        return None
    connection.execute("BEGIN")
    return find_rows(connection, folder)


def close_doors(connection: duckdb.DuckDBPyConnection, place: LakePlace) -> None:
    """Leave the statement no file but the lake's own rows and the projection's, no network and no settings to change."""
    folders = ", ".join(f"'{quoted(folder)}'" for folder in (place.folder, f"{projection_folder(place.file)}/"))
    connection.execute(f"SET allowed_directories = [{folders}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def answer(task: Task) -> dict[str, object]:
    """Answer into the file `answer` of the folder; return how many rows there are."""
    with duckdb.connect(":memory:") as parser:
        names = check_question(parser, task.question.sql)
        calls = frozenset[RangeCall]()
        if names and names & RANGE_FUNCTIONS:
            calls = find_calls(question_nodes(parser, task.question.sql), task.question.parameters)
    if names and names & NEEDS_INDEX and not index_file(task.place.file).exists():
        raise CatalogUnusable("the search index, which has the packages of SBOMs, is not there yet; try again")
    connection = open_for_question(task, names)
    close_doors(connection, task.place)
    alarm = threading.Timer(task.limits.timeout, connection.interrupt)
    alarm.daemon = True
    alarm.start()
    try:
        fill_found(connection, calls, task.question.within)
        reader = connection.execute(task.question.sql, dict(task.question.parameters) or None).to_arrow_reader(_BATCH)
        with (task.folder / "answer").open("wb") as out:
            rows = _write(reader, out, task)
    except duckdb.InterruptException:
        raise QueryInvalid(
            f"the question took more than {task.limits.timeout:g} s and was stopped; narrow it"
        ) from None
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise QueryInvalid(
            f"the question needs more than {task.limits.memory} of memory (ENTREPOT_QUERY_MEMORY) and {task.limits.spill} "
            f"to spill (ENTREPOT_QUERY_SPILL); narrow it: {str(error).partition(chr(10))[0]}"
        ) from None
    except duckdb.Error as error:
        if _is_away(task.place, error):
            raise CatalogUnavailable(f"{task.place.name} does not answer: {str(error).partition(chr(10))[0]}") from None
        raise QueryInvalid(str(error)) from None
    except (pa.ArrowException, NotImplementedError) as error:
        raise QueryInvalid(f"the answer cannot be written: {error}") from None
    finally:
        alarm.cancel()
    return {"rows": rows}


def _write(reader: pa.RecordBatchReader, out: BinaryIO, task: Task) -> int:
    schema = pa.schema(
        [field.with_name(name) for field, name in zip(reader.schema, _names(reader.schema), strict=True)]
    )
    form, rows = open_form(task.form, schema, out), 0
    for batch in reader:
        rows += batch.num_rows
        if rows > task.limits.rows:
            raise QueryInvalid(f"the answer has more than {task.limits.rows} rows; add a LIMIT, or aggregate")
        form.write(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        if out.tell() > task.limits.size:
            raise QueryInvalid(f"the answer has more than {task.limits.size} bytes; ask for fewer columns or rows")
    form.close()
    return rows


def _names(schema: pa.Schema) -> list[str]:
    """The columns' names, the second of a name called NAME_2 and so on: an object has no two."""
    names: list[str] = []
    for name in schema.names:
        number = 1
        while (found := name if number == 1 else f"{name}_{number}") in names:
            number += 1
        names.append(found)
    return names


def _end_with_asker() -> None:
    """Wait until standard input ends, and end."""
    os.read(0, 1)
    os._exit(3)


def main() -> int:
    task = load_task(_read_line())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    limit_process(task.limits)
    try:
        told = answer(task)
    except EntrepotError as error:
        told = {"error": error.message, "kind": type(error).__name__}
    except MemoryError:
        told = {"error": "the question needs more memory than it may have; narrow it", "kind": "QueryInvalid"}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    os._exit(0)  # threads of a statement that was interrupted are not waited for


def _read_line() -> str:
    """The first line of standard input, and not a byte more: the rest is for the thread that waits for its end."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            sys.exit(3)
        line += piece
    return line.decode()


if __name__ == "__main__":
    sys.exit(main())
