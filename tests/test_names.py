"""No public name stands for two things: each class and function of the product is found by its name alone."""

import ast
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.test_imports import product_files

# Decorators of entry points: a route, a command, a flow or a task. A framework calls these; nobody imports them by name.
ENTRY_POINTS = {
    "callback",
    "command",
    "delete",
    "flow",
    "form_flow",
    "from_form",
    "get",
    "patch",
    "post",
    "put",
    "task",
}
# What `python -m` calls in each of its modules.
MAIN = "main"


def public_names(source: str) -> Iterator[str]:
    """Names of the public classes and functions of a module, without its entry points."""
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not node.name.startswith("_") and node.name != MAIN and not any(map(_is_entry_point, node.decorator_list)):
            yield node.name


def _is_entry_point(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", getattr(called, "id", "")) in ENTRY_POINTS


def test_no_public_name_stands_for_two_things() -> None:
    counts = Counter(name for path in product_files() for name in public_names(path.read_text()))
    assert sorted(name for name, count in counts.items() if count > 1) == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("class Gate: ...\ndef check() -> None: ...\nasync def fetch() -> None: ...", ["Gate", "check", "fetch"]),
        ("def _hidden() -> None: ...\ndef main() -> int: ...", []),
        ("@router.get('/tags')\nasync def list_tags() -> None: ...", []),
        ("@group.command('list')\ndef list_tags() -> None: ...", []),
        ("@flow(name='sync')\nasync def sync() -> None: ...", []),
        ("@lru_cache\ndef parse() -> None: ...", ["parse"]),
        ("class Outer:\n    def check(self) -> None: ...", ["Outer"]),
    ],
)
def test_entry_points_are_nobodys_names(source: str, names: list[str]) -> None:
    assert list(public_names(source)) == names
