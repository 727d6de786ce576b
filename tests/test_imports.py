"""The architecture as a test: which room may import what, held over the syntax tree of every file."""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
# Package, or a module in a room's own folder that imports packages → which of these it may import of its own room.
# A module that is in no row imports none of them, and all of its room may import it.
PACKAGE_ARROWS: dict[str, set[str]] = {
    "oci/folders": set(),
    "oci/remote": {"remote/auth", "remote/limits", "remote/network", "traces"},
    "oci/remote/auth": {"remote/network"},
    "oci/remote/discovery": {"remote"},
    "oci/remote/limits": {"remote/network"},
    "oci/remote/mirrors": {"remote"},
    "oci/remote/network": set(),
    "oci/remote/signatures": {"remote", "signing"},
    "oci/signing": set(),
    "oci/signing/signers": {"signing"},
    "oci/traces": set(),
    "catalog/access": {"audit", "database", "state"},
    "catalog/audit": {"lake"},
    "catalog/blobs": {"database", "lake", "lake/metadata"},
    "catalog/blobs/shared_uploads": {"blobs", "database", "disk_reserve"},
    "catalog/browse": {"audit", "lake", "pull_counts", "versions"},
    "catalog/bundles": {"blobs", "catalog", "content", "filters", "policy", "policy_gates", "versions"},
    "catalog/catalog": {
        "audit",
        "blobs",
        "blobs/shared_uploads",
        "browse",
        "commits",
        "database",
        "distributions",
        "gates",
        "holds",
        "lake",
        "lifecycle",
        "maintenance",
        "policy",
        "policy_gates",
        "pull_counts",
        "query",
        "quotas",
        "remotes",
        "retention",
        "search",
        "serving",
        "state",
        "versions",
        "watch",
    },
    "catalog/commits": {"audit", "blobs", "distributions", "lake", "quotas", "versions"},
    "catalog/content": {
        "blobs",
        "catalog",
        "distributions",
        "documents",
        "filters",
        "pull_counts",
        "retention",
        "signing",
        "versions",
    },
    "catalog/database": {"disk_reserve"},
    "catalog/distributions": {"lake"},
    "catalog/documents": set(),
    "catalog/filters": set(),
    "catalog/gates": {"filters", "lake", "versions"},
    "catalog/holds": {"audit", "distributions", "gates", "lake", "versions"},
    "catalog/lake": {"lake/direct", "lake/metadata", "state"},
    "catalog/lake/direct": {"database"},
    "catalog/lake/metadata": {"database", "lake/direct"},
    "catalog/lifecycle": {"audit", "filters", "gates", "lake", "versions"},
    "catalog/maintenance": {"blobs", "distributions", "filters", "lake", "pull_counts", "query", "versions"},
    "catalog/prefect": {"state"},
    "catalog/migration": {
        "access",
        "blobs",
        "database",
        "lake",
        "lake/metadata",
        "policy",
        "state",
        "webhooks",
        "desired_state",
    },
    "catalog/policy": {"audit", "commits", "state", "versions"},
    "catalog/policy/formats": {"policy"},
    "catalog/policy_gates": {"audit", "filters", "policy", "versions"},
    "catalog/pull_counts": {"lake"},
    "catalog/query": {"blobs", "documents", "filters", "lake", "lake/metadata", "search"},
    "catalog/query/named": {"distributions", "query"},
    "catalog/quotas": {"lake"},
    "catalog/remotes": {"blobs", "distributions", "lake", "state"},
    "catalog/serving": {"distributions", "versions"},
    "catalog/retention": {"access", "filters", "lake", "pull_counts", "versions"},
    "catalog/search": {"blobs", "documents", "lake", "lake/metadata", "versions"},
    "catalog/signing": {"catalog", "documents", "filters", "versions"},
    "catalog/space": {"catalog", "content", "retention", "state"},
    "catalog/state": {"database"},
    "catalog/versions": {"audit", "blobs", "distributions", "filters", "lake", "quotas", "remotes"},
    "catalog/webhooks": {"access", "audit", "commits", "database", "distributions", "filters", "state"},
    "catalog/watch": {"audit", "filters", "lake"},
    "catalog/desired_state": {
        "access",
        "blobs",
        "distributions",
        "filters",
        "holds",
        "lifecycle",
        "policy",
        "quotas",
        "remotes",
        "retention",
        "state",
        "versions",
        "webhooks",
    },
    "registry_api/__main__": {"metrics", "server"},
    "registry_api/app": {
        "auth",
        "background",
        "context",
        "dispatch",
        "flatpak_index",
        "freshness",
        "gates",
        "health",
        "http",
        "management",
        "management/sboms",
        "metrics",
        "on_demand",
        "pages",
        "pages/framework",
        "pull_through",
        "token_endpoint",
        "webhooks",
    },
    "registry_api/auth": {"http"},
    "registry_api/background": {"context", "metrics", "v2", "webhooks"},
    "registry_api/connections": {"http"},
    "registry_api/context": {"auth", "freshness", "gates", "http", "on_demand"},
    "registry_api/dispatch": {"auth", "context", "freshness", "http", "path_changes", "pull_through", "v2"},
    "registry_api/flatpak_index": {"context", "http"},
    "registry_api/freshness": {"http"},
    "registry_api/gates": {"http"},
    "registry_api/health": {"context", "http"},
    "registry_api/http": set(),
    "registry_api/management": {"auth", "context", "http"},
    "registry_api/management/sboms": {"gates", "management"},
    "registry_api/metrics": {"auth", "context", "freshness", "http", "management", "webhooks"},
    "registry_api/fetch_locks": {"http"},
    "registry_api/on_demand": {"fetch_locks", "http"},
    "registry_api/pages": {
        "pages/administration",
        "pages/api_docs",
        "pages/changes",
        "pages/framework",
        "pages/images",
        "pages/logins",
    },
    "registry_api/pages/administration": {"http", "management", "pages/framework"},
    "registry_api/pages/logins": {"auth", "context", "http", "pages/framework", "token_endpoint"},
    "registry_api/pages/changes": {"http", "management", "pages/framework", "path_changes", "webhooks"},
    "registry_api/pages/api_docs": {"http", "management", "pages/framework"},
    "registry_api/pages/images": {"pages/framework"},
    "registry_api/pages/framework": {"auth", "context", "http", "management", "metrics"},
    "registry_api/path_changes": {"context"},
    "registry_api/pull_through": {"context", "http"},
    "registry_api/server": {"app", "connections", "metrics"},
    "registry_api/token_endpoint": {"auth", "context", "http"},
    "registry_api/v2": {"auth", "context", "http", "on_demand", "path_changes"},
    "registry_api/webhooks": {"auth", "context", "http", "management"},
    "flows/all_flows": {
        "bundles",
        "curate",
        "engine",
        "image_build",
        "migrate",
        "promote",
        "push",
        "replicate",
        "retention",
        "runs",
        "sign",
        "storage",
        "sync",
        "sync_many",
        "watch",
    },
    "flows/bundles": {"engine", "forms", "runs"},
    "flows/console": {"forms"},
    "flows/copy": {"forms", "push", "runs", "sync"},
    "flows/curate": {"engine", "forms", "runs"},
    "flows/demo": {"pipeline", "sync"},
    "flows/direct": {"console", "engine", "forms", "recovery", "runs"},
    "flows/engine": {"console"},
    "flows/forms": set(),
    "flows/image_build": {"engine", "forms", "runs", "sign"},
    "flows/migrate": {"engine", "forms", "runs", "sync", "sync_many"},
    "flows/orchestration": {
        "console",
        "demo",
        "direct",
        "forms",
        "orchestration/processes",
        "orchestration/servers",
        "recovery",
        "runs",
    },
    "flows/orchestration/ad_hoc": {
        "direct",
        "engine",
        "forms",
        "orchestration/processes",
        "orchestration/servers",
        "recovery",
        "runs",
    },
    "flows/orchestration/processes": set(),
    "flows/orchestration/servers": {"orchestration/processes", "recovery"},
    "flows/pipeline": {
        "bundles",
        "console",
        "curate",
        "engine",
        "forms",
        "image_build",
        "promote",
        "runs",
        "sign",
        "sync",
    },
    "flows/promote": {"console", "engine", "forms", "runs", "sign"},
    "flows/push": {"engine", "forms", "runs"},
    "flows/recovery": set(),
    "flows/replicate": {"console", "engine", "forms", "runs", "sync", "sync_many"},
    "flows/retention": {"engine", "forms", "runs"},
    "flows/runs": {"console", "engine"},
    "flows/schedules": {"all_flows", "console", "orchestration", "pipeline"},
    "flows/sign": {"engine", "forms", "runs"},
    "flows/storage": {"engine", "forms", "runs"},
    "flows/sync": {"engine", "forms", "runs"},
    "flows/sync_many": {"console", "engine", "forms", "recovery", "runs", "sync"},
    "flows/watch": {"engine", "forms", "runs"},
    "cli/administration": {"forms"},
    "cli/configuration": {"administration", "content"},
    "cli/content": {"forms"},
    "cli/doctor": set(),
    "cli/forms": set(),
    "cli/commands": {"forms"},
    "cli/imports": {"configuration"},
    "cli/main": {"commands"},
    "cli/operations": {"forms"},
    "cli/storage": {"forms"},
    "cli/up": {"forms"},
}
MOST_SIBLINGS = 16
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
    "opentelemetry": "oci",
}
# Package → how many files of that room may import it at most.
AT_MOST_FILES = {"boto3": 1, "sh": 1, "opentelemetry": 1}
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
        path for folder in ("benchmarks", "scripts", "deploy") for path in (ROOT / folder).rglob("*.py")
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


# --- packages within a room ------------------------------------------------------------------------------------


def modules() -> dict[str, PurePosixPath]:
    """Every module of the product by its dotted name; a package stands for its `__init__.py`."""
    paths = (PurePosixPath(path.relative_to(ROOT)) for path in product_files())
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def box_of(path: PurePosixPath) -> str:
    """The package that a file is in; a module that lies in its room's own folder stands for itself."""
    return str(path.parent if len(path.parts) > 2 else path.with_suffix(""))


def module_arrows(found: Iterable[Import], known: Mapping[str, PurePosixPath]) -> set[tuple[str, str]]:
    """Which module imports which: of `from a import b` the module a.b where there is one, else a."""
    by_line: dict[tuple[PurePosixPath, int], set[str]] = {}
    for item in found:
        if item.module in known:
            by_line.setdefault((item.path, item.line), set()).add(item.module)
    names = {path: name for name, path in known.items()}
    return {
        (names[path], name)
        for (path, _), imported in by_line.items()
        for name in imported
        if not any(other.startswith(f"{name}.") for other in imported)
    }


def package_arrows(arrows: Iterable[tuple[str, str]], known: Mapping[str, PurePosixPath]) -> set[tuple[str, str]]:
    """Arrows between boxes of one room; the `__init__.py` of a room itself is nobody's neighbour."""
    boxes = {(box_of(known[start]), box_of(known[end])) for start, end in arrows if end not in ARROWS}
    return {(start, end) for start, end in boxes if start != end and start.split("/")[0] == end.split("/")[0]}


def package_breaches(arrows: Iterable[tuple[str, str]]) -> list[str]:
    """Arrows between boxes that PACKAGE_ARROWS does not have; a module without a row may import no box with one."""
    wrong = []
    for start, end in sorted(arrows):
        room = start.split("/")[0]
        if end in PACKAGE_ARROWS and end.removeprefix(f"{room}/") not in PACKAGE_ARROWS.get(start, set()):
            wrong.append(f"{start} imports {end}; it may import {sorted(PACKAGE_ARROWS.get(start, set()))}")
    return wrong


def find_circle(arrows: Iterable[tuple[str, str]]) -> list[str]:
    """Nodes that import each other in a circle, the first that is found; empty where there is none."""
    ends: dict[str, set[str]] = {}
    for start, end in arrows:
        ends.setdefault(start, set()).add(end)
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        circle = next((found for end in sorted(ends.get(node, ())) if (found := walk(end, [*way, node]))), [])
        done.add(node)
        return circle

    return next((found for node in sorted(ends) if (found := walk(node, []))), [])


def product_arrows() -> set[tuple[str, str]]:
    return module_arrows(product_imports(), modules())


def test_every_import_between_packages_follows_an_arrow() -> None:
    assert package_breaches(package_arrows(product_arrows(), modules())) == []


def test_every_package_has_its_row_and_every_arrow_its_use() -> None:
    packages = {box_of(path) for path in modules().values() if len(path.parts) > 2}
    rows = {(start, f"{start.split('/')[0]}/{end}") for start, ends in PACKAGE_ARROWS.items() for end in ends}
    assert packages - set(PACKAGE_ARROWS) == set()
    assert set(PACKAGE_ARROWS) - packages == {name for name in PACKAGE_ARROWS if (ROOT / f"{name}.py").is_file()}
    assert rows - package_arrows(product_arrows(), modules()) == set()


def test_neither_files_nor_packages_import_each_other_in_a_circle() -> None:
    assert find_circle(product_arrows()) == []
    assert find_circle(package_arrows(product_arrows(), modules())) == []


def test_no_folder_has_too_many_siblings() -> None:
    counts = Counter(str(path.parent) for path in modules().values() if path.name != "__init__.py")
    assert {folder: count for folder, count in counts.items() if count > MOST_SIBLINGS} == {}


def test_every_package_says_what_lives_in_it() -> None:
    texts = {
        str(path.parent): ast.get_docstring(ast.parse((ROOT / path).read_text())) or ""
        for path in modules().values()
        if path.name == "__init__.py"
    }
    assert {str(path.parent) for path in modules().values()} - set(texts) == set()
    assert {folder: text for folder, text in texts.items() if not 3 <= len(text.splitlines()) <= 8} == {}


def test_unit_tests_lie_as_the_rooms_do() -> None:
    folders = {
        path.parent.relative_to(ROOT / "tests" / "unit") for path in (ROOT / "tests" / "unit").rglob("test_*.py")
    }
    assert [folder for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []


def test_a_wrong_arrow_between_packages_is_found() -> None:
    known = modules()
    found = imports_of(PurePosixPath("catalog/lake/connection.py"), "def f():\n    from catalog.versions import commit")
    (breach,) = package_breaches(package_arrows(module_arrows(found, known), known))
    assert breach.startswith("catalog/lake imports catalog/versions")
    found = imports_of(PurePosixPath("catalog/settings.py"), "from catalog.lake.schema import MIGRATIONS")
    (breach,) = package_breaches(package_arrows(module_arrows(found, known), known))
    assert breach.startswith("catalog/settings imports catalog/lake")


def test_a_circle_is_found() -> None:
    assert find_circle([("a", "b"), ("b", "c"), ("c", "b"), ("a", "d")]) == ["b", "c", "b"]
    assert find_circle([("a", "b"), ("b", "c"), ("a", "c")]) == []


def test_relative_imports_are_seen_as_absolute_ones() -> None:
    (module, name) = imports_of(PurePosixPath("oci/remote/transport.py"), "from ..errors import RemoteError")
    assert (module.module, name.module) == ("oci.errors", "oci.errors.RemoteError")
