"""Runs tests on PostgreSQL: every home of theirs that names no catalogue has a database of its own.

`pytest --on-postgresql tests/api` starts a server, and has each process of ours begin with `install`. With `--on-s3` as well
every home that names no storage has a prefix of its own in a bucket besides. What a test gives up by deleting the home stays
in the servers until they end.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

PORT = "TESTS_ON_POSTGRESQL"
"""Environment variable with the server's port."""
PASSWORD = "TESTS_ON_POSTGRESQL_PASSWORD"
"""Environment variable with the password of its user: what a process of ours imports has to be what it imports by itself."""
BUCKET = "TESTS_ON_S3"
"""Environment variable with the folder of the bucket's objects, where blobs are in S3 too."""
SITE = Path(__file__).parent / "sites" / "postgresql"
_MODULE = "catalog.settings"


class _Finder(MetaPathFinder):
    """Changes the settings once they are loaded, and costs nothing before."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path, target)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            _change(module.Settings)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


@contextmanager
def running(scratch: Path, *, on_s3: bool = False) -> Iterator[None]:
    """Run a server, and have this process and those it starts keep their catalogues there; `on_s3`: and their blobs in S3."""
    from tests.postgresql import make_postgres
    from tests.servers import Children, start_s3

    with Children(scratch / "postgresql") as children:
        server = make_postgres(children)
        os.environ.update({PORT: str(server.port), PASSWORD: server.password})
        if on_s3:
            store = start_s3(children)
            os.environ.update({name: value for name, value in store.env.items() if name != "ENTREPOT_STORAGE"})
            os.environ["ENTREPOT_STORAGE_REDIRECT"] = "false"  # tests read what we send
            os.environ[BUCKET] = str(store.folder)
        os.environ["PYTHONPATH"] = str(SITE)
        install()
        yield


def install() -> None:
    """Have installations without a catalogue's address keep it in PostgreSQL, where the environment says so."""
    if PORT not in os.environ:
        return
    if _MODULE in sys.modules:
        _change(sys.modules[_MODULE].Settings)
    else:
        sys.meta_path.insert(0, _Finder())


def _change(settings: Any) -> None:
    _replace(settings, "catalog_address", _catalog_address)
    if BUCKET in os.environ:
        _replace(settings, "storage_folder", lambda own, one: own(one) if one.storage else None)
        _replace(settings, "storage_bucket", _storage_bucket)


def _replace(settings: Any, name: str, changed: Callable[[Callable[[Any], Any], Any], Any]) -> None:
    """Have a property be what `changed` returns for its own getter, and the settings."""
    own = inspect.getattr_static(settings, name).func
    replaced = cached_property(lambda one: changed(own, one))
    replaced.__set_name__(settings, name)
    setattr(settings, name, replaced)


def name_of(home: Path) -> str:
    """Return the name of a home's database and prefix, which no other home has."""
    return f"home_{hashlib.sha256(str(home).encode()).hexdigest()[:20]}"


def blob_folder(home: Path) -> Path:
    """Return the folder in which a home's blobs are files: its own, or the S3 server's."""
    return Path(os.environ[BUCKET]) / name_of(home) if BUCKET in os.environ else home / "blobs"


def staging_folder(home: Path) -> Path:
    """Return the folder into which a home receives uploads."""
    return home / "staging" if BUCKET in os.environ else home / "blobs" / "staging"


def _storage_bucket(own: Callable[[Any], Any], settings: Any) -> Any:
    return own(settings) if settings.storage else (Path(os.environ[BUCKET]).name, name_of(settings.root))


def _catalog_address(own: Callable[[Any], Any], settings: Any) -> Any:
    from catalog.postgres_address import PostgresAddress

    found = own(settings)
    if found is not None or settings.catalog:
        return found
    name, port = name_of(settings.root), int(os.environ[PORT])
    _make_database(port, name, os.environ[PASSWORD])
    return PostgresAddress("127.0.0.1", port, "entrepot", name, os.environ[PASSWORD])


def _make_database(port: int, name: str, password: str) -> None:
    import psycopg

    login = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    with psycopg.connect(login, password=password, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            try:
                connection.execute(f"CREATE DATABASE {name} OWNER entrepot")
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process was quicker
                return
