"""Runs tests on PostgreSQL: every home of theirs that names no catalogue has a database of its own.

`pytest --on-postgresql tests/api` starts a server, and has each process of ours begin with `install`. What a test gives up by
deleting the home stays in the server until it ends.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

PORT = "TESTS_ON_POSTGRESQL"
"""Environment variable with the server's port."""
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
def running(scratch: Path) -> Iterator[None]:
    """Run a server, and have this process and those it starts keep their catalogues there."""
    from tests.postgresql import make_postgres
    from tests.servers import Children

    with Children(scratch / "postgresql") as children:
        os.environ[PORT] = str(make_postgres(children).port)
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
    from functools import cached_property

    from tests.postgresql import PostgresServer

    own = inspect.getattr_static(settings, "catalog_address").func

    def catalog_address(self: Any) -> Any:
        from catalog.postgres_address import PostgresAddress

        found = own(self)
        if found is not None or self.catalog:
            return found
        name = f"home_{hashlib.sha256(str(self.root).encode()).hexdigest()[:20]}"
        port = int(os.environ[PORT])
        _make_database(port, name, PostgresServer.password)
        return PostgresAddress("127.0.0.1", port, "entrepot", name, PostgresServer.password)

    changed = cached_property(catalog_address)
    changed.__set_name__(settings, "catalog_address")
    settings.catalog_address = changed


def _make_database(port: int, name: str, password: str) -> None:
    import psycopg

    login = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    with psycopg.connect(login, password=password, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is None:
            try:
                connection.execute(f"CREATE DATABASE {name} OWNER entrepot")
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):  # another process was quicker
                return
