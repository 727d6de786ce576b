"""A file of mode 0600 that holds one value as JSON: read again whenever it changes, written whole under a lock."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from catalog.database.migration_mark import Allow
from catalog.disk_reserve import FULL, no_room
from oci.errors import CatalogUnusable, InvalidInput

M = TypeVar("M", bound=BaseModel)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all."""
    staged = path.with_name(f".{path.name}.new")
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class PrivateFile(Generic[M]):
    """This process's sight of the file; `empty` stands for one that is not there. Usable from any thread."""

    def __init__(self, file: Path, empty: M, *, lock_timeout: float, allow: Allow | None = None) -> None:
        """`allow` is called under the lock before each change."""
        self._file, self._empty, self._allow = file, empty, allow
        self._name = str(file)
        self._lock = FileLock(file.with_suffix(".lock"), timeout=lock_timeout)
        self._guard = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._value = empty

    @property
    def value(self) -> M:
        """Return the value in force; it only looks at the file's date, so use it on an event loop. Raises CatalogUnusable."""
        try:
            status = os.stat(self._name)  # noqa: PTH116  # on every request, and half of Path.stat's time
        except FileNotFoundError:
            with self._guard:
                self._stamp, self._value = None, self._empty
            return self._value
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp != self._stamp:
            with self._guard:
                self._value, self._stamp = self._read(), stamp
        return self._value

    @property
    def stamp(self) -> tuple[int, int, int] | None:
        """Return a stamp that changes with the value, as of the last look at `value`."""
        return self._stamp

    def _read(self) -> M:
        return parse_document(type(self._empty), self._file.read_bytes(), str(self._file))

    def update(self, change: Callable[[M], M]) -> M:
        """Replace the value by what `change` makes of it; durable on return. If it raises, nothing changes."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._writing():
            return self._write(change(self.value))

    def create(self, make: Callable[[], M]) -> bool:
        """Make the value unless there is one; return whether it was made, by one of all that try."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._writing():
            if self._file.exists():
                return False
            self._write(make())
            return True

    def _write(self, made: M) -> M:
        if self._allow is not None:
            self._allow()
        checked = type(made).model_validate(made.model_dump())
        write_private(self._file, checked.model_dump_json(indent=1) + "\n")
        return checked

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock; raise CatalogUnusable when another does for too long, StorageFull."""
        try:
            with self._lock:
                yield
        except OSError as error:
            if error.errno in FULL:
                raise no_room(self._file.parent) from error
            raise
        except Timeout:
            raise CatalogUnusable(f"another process holds {self._lock.lock_file}; try again") from None


def parse_document(kind: type[M], raw: bytes, place: str) -> M:
    """Read a value; raise CatalogUnusable that names its place, without the values."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except InvalidInput as error:
        said = error.message
    raise CatalogUnusable(f"{place} cannot be used: {said}; mend it or restore it from a backup")
