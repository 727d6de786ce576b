"""Write the tables of docs/ that follow from the code: `make docs`. tests/test_docs.py compares them with the code."""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from catalog.settings import Settings
from oci import errors
from oci.errors import EntrepotError
from registry_api.errors import row_of

ROOT = Path(__file__).resolve().parent.parent


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- settings --------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """Every setting: variable, default, meaning."""
    rows = (
        (f"`ENTREPOT_{name.upper()}`", _default(field), _kind(field), field.description or "")
        for name, field in Settings.model_fields.items()
    )
    return table(("variable", "default", "kind", "meaning"), rows)


def _default(field: FieldInfo) -> str:
    value = {} if field.default_factory is not None else field.default
    if value is PydanticUndefined:
        return "required"
    if value in (None, "", (), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


def _kind(field: FieldInfo) -> str:
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return _KINDS.get(getattr(get_origin(kind) or kind, "__name__", ""), "text")


_KINDS = {
    "Path": "path",
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "tuple": "list",
    "dict": "JSON object",
}


# --- errors ----------------------------------------------------------------------------------------------------


GROUPS = (EntrepotError, errors.RequestError, errors.RemoteError, errors.LocalError)


def error_classes() -> list[type[EntrepotError]]:
    """Every class of the tree that says what is wrong, in the order of the file; not those that only group others."""
    return [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, EntrepotError) and found not in GROUPS
    ]


def errors_table() -> str:
    """Every error: whose fault, what the registry answers, what the command line ends with."""
    rows = (
        (
            f"`{found.__name__}`",
            found.side,
            str(row_of(found).status),
            f"`{found.code}`",
            str(exit_code(found)),
            "yes" if found.retryable else "no",
            (found.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip(),
        )
        for found in error_classes()
    )
    return table(("error", "at fault", "status", "code", "exit code", "tried again", "meaning"), rows)


# --- the files -------------------------------------------------------------------------------------------------

GENERATED: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/settings.md": {"settings": settings_table},
    "docs/errors.md": {"errors": errors_table},
}


def replace_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """`text` with what stands between its `generated: NAME` markers made anew."""
    for name, make in tables.items():
        start, end = f"<!-- generated: {name} (make docs) -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(start)}\n.*?{re.escape(end)}", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"expected one pair of markers: {start} … {end}"
        block = f"{start}\n\n{make()}\n\n{end}"
        text = pattern.sub(lambda _, block=block: block, text)  # type: ignore[misc]
    return text


def main() -> int:
    for name, tables in GENERATED.items():
        path = ROOT / name
        path.write_text(replace_tables(path.read_text(), tables))
        print(f"{name}: {', '.join(tables)}")  # noqa: T201  # a command of developers: its output is its purpose
    return 0


if __name__ == "__main__":
    sys.exit(main())
