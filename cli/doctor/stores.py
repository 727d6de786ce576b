"""Checks of what is kept: the catalogue, who writes to it, and the blobs in S3; and this machine's clock beside theirs."""

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cli.doctor.finding import Finding, ok

if TYPE_CHECKING:
    from catalog.settings import Settings

_HELD_SECONDS = 5.0
_APART, _FAR_APART = timedelta(seconds=5), timedelta(minutes=5)


def check_catalog_opens(settings: "Settings") -> Iterator[Finding]:
    """Open the catalogue as any command does, and ask it something."""
    from catalog.catalog import open_catalog
    from catalog.lake.schema import MIGRATIONS

    if not settings.has_catalog:
        text = f"no catalogue in {settings.root}"
        yield Finding("catalogue", "warning", text, "run `entrepot up`, or give another folder by --home")
        return
    if is_new_database(settings):
        text = "no release has opened this database yet: it is new"
        yield Finding(
            "catalogue", "warning", text, "start the registry, or run `entrepot up`: that makes the catalogue"
        )
        return
    if has_older_schema(settings):
        text = "the catalogue is of an older release; it was not opened, since that would update it"
        yield Finding("catalogue", "warning", text, "back it up, then start this release: it updates the catalogue")
        return
    began = time.monotonic()
    with open_catalog(settings) as catalog:
        catalog.check()
        names = len(catalog.snapshots.names())
        place = catalog.settings.catalog_address or catalog.settings.catalog_file
        where = str(place) if isinstance(place, Path) else "PostgreSQL"
    seconds = time.monotonic() - began
    yield ok("catalogue", f"{where} opens in {seconds:.1f} s: schema {len(MIGRATIONS)}, {names} repositories")


def is_new_database(settings: "Settings") -> bool:
    """Return whether the catalogue is to be in a PostgreSQL database that has none yet; nothing is written."""
    if settings.catalog_address is None:
        return False
    from catalog.database.looking import holds_lake

    return not holds_lake(settings.catalog_address)


def has_older_schema(settings: "Settings") -> bool:
    """Return whether opening the catalogue would update its schema; nothing is written."""
    from catalog.blobs.lake_data import lake_place
    from catalog.lake.schema import MIGRATIONS
    from catalog.query.first_column import read_first_column

    found = read_first_column(lake_place(settings), "SELECT coalesce(max(number), 0) FROM lake.schema_versions", [])
    return int(found[0]) < len(MIGRATIONS)


def check_write_lock(settings: "Settings") -> Iterator[Finding]:
    """Look who holds the write lock; a holder that stays for seconds keeps others from writing."""
    if is_new_database(settings):
        yield ok("lock", "the write lock is free: nobody has written yet")
        return
    look = _holders_in(settings)
    first = look()
    deadline = time.monotonic() + _HELD_SECONDS
    held = first
    while held and time.monotonic() < deadline:
        time.sleep(0.25)
        held = [one for one in look() if one in held]
    if held:
        text = f"{', '.join(held)} has held the write lock for more than {_HELD_SECONDS:g} s"
        yield Finding("lock", "warning", text, "wait for it; end the process if it hangs")
    else:
        yield ok("lock", "the write lock is held for short times only" if first else "the write lock is free")


def _holders_in(settings: "Settings") -> Callable[[], list[str]]:
    if settings.catalog_address is None:
        file = settings.catalog_file.with_suffix(".lock")
        return lambda: file_lock_holders(file)
    from catalog.database.opening import open_postgres
    from catalog.lake.metadata.postgresql import write_lock_holders

    def look() -> list[str]:
        database = open_postgres(settings)
        assert database is not None
        try:
            return write_lock_holders(database)
        finally:
            database.close()

    return look


def file_lock_holders(file: Path, locks: Path = Path("/proc/locks")) -> list[str]:
    """Return the processes that hold a lock on a file, as the kernel lists them; it is not locked for that."""
    try:
        inode = file.stat().st_ino
        lines = locks.read_text().splitlines()
    except OSError:
        return []
    held = [line.split() for line in lines if "->" not in line]  # those with an arrow wait for it
    numbers = {parts[4] for parts in held if len(parts) > 5 and parts[5].rpartition(":")[2] == str(inode)}
    return sorted(f"process {number}{_command_of(number)}" for number in numbers)


def _command_of(number: str) -> str:
    try:
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    names = [Path(word.decode(errors="replace")).name for word in words[:3] if word]
    return f" ({' '.join(names)})" if names else ""


def check_storage(settings: "Settings") -> Iterator[Finding]:
    """Put, get and delete a probe where the blobs are."""
    if settings.storage_folder is not None:
        folder = settings.storage_folder
        if not folder.exists():
            yield ok("storage", f"{folder} does not exist yet; the first start creates it")
            return
        probe = folder / f".doctor-{uuid.uuid4().hex}"
        try:
            probe.write_bytes(b"probe")
            probe.read_bytes()
            probe.unlink()
        except OSError as error:
            text = f"{folder} cannot be written: {error.strerror}"
            yield Finding(
                "storage", "failure", text, "make the folder writable for the registry's user, and free space"
            )
        else:
            yield ok("storage", f"{folder}: write, read and delete work")
        return
    from catalog.blobs.s3_store import S3Place, probe_bucket

    bucket, prefix = settings.storage_bucket
    began = time.monotonic()
    theirs = probe_bucket(S3Place(bucket, prefix, settings.s3_endpoint), uuid.uuid4().hex)
    yield ok("storage", f"S3 bucket {bucket} writes, reads and deletes an object in {time.monotonic() - began:.1f} s")
    if theirs is not None:
        yield judge_clock("S3", theirs, datetime.now(theirs.tzinfo))


def check_database_clock(settings: "Settings") -> Iterator[Finding]:
    """Compare this machine's clock with the database's."""
    if settings.catalog_address is None:
        return
    from catalog.database.looking import read_clock

    theirs = read_clock(settings.catalog_address)
    yield judge_clock("the database", theirs, datetime.now(theirs.tzinfo))


def judge_clock(whose: str, theirs: datetime, ours: datetime) -> Finding:
    """Return how far this machine's clock is from another one."""
    apart = abs(ours - theirs)
    text = f"this clock differs by {apart.total_seconds():.0f} s from the clock of {whose}"
    if apart < _APART:
        return ok("clock", text)
    advice = "set the clock by NTP (`timedatectl set-ntp true`); tokens, signatures and S3 need it"
    return Finding("clock", "failure" if apart > _FAR_APART else "warning", text, advice)
