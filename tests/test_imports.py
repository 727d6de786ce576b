"""The architecture as a test: which room may import what, held over the syntax tree of every file."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.servers import ROOT

# Room → the rooms it may import. Everything else between rooms is forbidden.
ARROWS: dict[str, set[str]] = {
    "oci": set(),
    "catalog": {"oci"},
    "registry_api": {"catalog", "oci"},
    "flows": {"catalog", "oci"},
    "cli": {"flows", "catalog", "oci"},
}
# Package → the one room whose files may import it.
ROOM_OF = {
    "prefect": "flows",
    "prefect_dask": "flows",
    "fastapi": "registry_api",
    "starlette": "registry_api",
    "duckdb": "catalog",
    "boto3": "catalog",
    "botocore": "catalog",
    "sh": "flows",
}
# Package → how many files of that room may import it at most.
AT_MOST_FILES = {"boto3": 1, "sh": 1}
# Words that say nothing about what a module holds.
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "service", "services", "common", "misc"}
LONGEST_FILE = 400


@dataclass(frozen=True)
class Import:
    """One imported module, at a line of a file below the project's root."""

    path: PurePosixPath
    line: int
    module: str

    @property
    def room(self) -> str:
        return self.path.parts[0]

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}:{self.line} imports {self.module}"


def imports_of(path: PurePosixPath, source: str) -> Iterator[Import]:
    """Every module that `source` imports, in functions and under TYPE_CHECKING too; relative ones made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.parent.parts[: len(path.parent.parts) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (package, node.module or "") if part)
            yield Import(path, node.lineno, base)
            yield from (Import(path, node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _calls_import(node):
            yield Import(path, node.lineno, str(node.args[0].value))  # type: ignore[attr-defined]


def _calls_import(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"import_module", "__import__"} and bool(node.args) and isinstance(node.args[0], ast.Constant)


def breaches(found: Iterator[Import]) -> list[str]:
    """What breaks the tables above, one line each; pure."""
    wrong: set[str] = set()
    users: dict[str, set[PurePosixPath]] = {}
    for item in found:
        if item.top in ARROWS and item.top != item.room and item.top not in ARROWS[item.room]:
            wrong.add(f"{item.path}:{item.line} imports {item.top}: {item.room} may import {sorted(ARROWS[item.room])}")
        if item.top in ROOM_OF and item.room != ROOM_OF[item.top]:
            wrong.add(f"{item.path}:{item.line} imports {item.top}, which only {ROOM_OF[item.top]}/ may")
        if item.top in {"tests", "benchmarks", "scripts"}:
            wrong.add(f"{item.path}:{item.line} imports {item.top}, which is no part of the product")
        if item.top in AT_MOST_FILES:
            users.setdefault(item.top, set()).add(item.path)
    for package, paths in users.items():
        if len(paths) > AT_MOST_FILES[package]:
            wrong.add(f"{package} is imported by {sorted(map(str, paths))}; {AT_MOST_FILES[package]} file may")
    return sorted(wrong)


def product_files() -> list[Path]:
    return sorted(path for room in ARROWS for path in (ROOT / room).rglob("*.py"))


def measured_files() -> list[Path]:
    return product_files() + sorted(
        path for folder in ("benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")
    )


def product_imports() -> Iterator[Import]:
    for path in product_files():
        yield from imports_of(PurePosixPath(path.relative_to(ROOT)), path.read_text())


def test_every_import_follows_an_arrow() -> None:
    assert breaches(product_imports()) == []


def test_every_room_is_there_and_is_looked_at() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in product_files()}
    assert seen == set(ARROWS)


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in measured_files()}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_module_names_say_what_is_in_them() -> None:
    named = [path for path in measured_files() if EMPTY_NAMES & set(path.with_suffix("").relative_to(ROOT).parts)]
    assert named == []


@pytest.mark.parametrize(
    ("path", "source", "reason"),
    [
        ("oci/digest.py", "import catalog.lake.connection", "oci may import []"),
        ("oci/digest.py", "from catalog.lake import connection as lake", "oci may import []"),
        ("catalog/lake/connection.py", "def f():\n    import flows.sync.flow", "catalog may import ['oci']"),
        ("flows/sync/flow.py", "from registry_api.app import make_app", "flows may import ['catalog', 'oci']"),
        ("registry_api/app.py", "import flows", "registry_api may import ['catalog', 'oci']"),
        (
            "registry_api/app.py",
            "import importlib\nimportlib.import_module('flows.sync.flow')",
            "registry_api may import",
        ),
        ("catalog/lake/connection.py", "from prefect import flow", "only flows/ may"),
        ("flows/sync/flow.py", "import fastapi.responses", "only registry_api/ may"),
        ("registry_api/app.py", "from duckdb import connect", "only catalog/ may"),
        ("oci/copy.py", "from tests.servers import ROOT", "no part of the product"),
    ],
)
def test_a_wrong_import_is_found(path: str, source: str, reason: str) -> None:
    (found,) = breaches(imports_of(PurePosixPath(path), source))
    assert reason in found


def test_a_second_file_with_boto3_is_found() -> None:
    first = imports_of(PurePosixPath("catalog/blobs/s3_store.py"), "import boto3")
    second = imports_of(PurePosixPath("catalog/lake/connection.py"), "from boto3 import client")
    assert breaches(iter([*first])) == []
    assert len(breaches(iter([*imports_of(PurePosixPath("catalog/blobs/s3_store.py"), "import boto3"), *second]))) == 1


def test_relative_imports_are_seen_as_absolute_ones() -> None:
    (module, name) = imports_of(PurePosixPath("oci/remote/transport.py"), "from ..errors import RemoteError")
    assert (module.module, name.module) == ("oci.errors", "oci.errors.RemoteError")
