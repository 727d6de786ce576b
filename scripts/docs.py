"""Write the tables of docs/ that follow from the code: `make docs`. tests/test_docs.py compares them with the code."""

import inspect
import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from catalog.policy.document import policy_schema
from catalog.query.named import named_questions
from catalog.query.view_columns import COLUMNS, MEANINGS
from catalog.settings import Settings
from catalog.unit_fields import READS_DURATION, READS_SIZE
from cli.configuration.model import configuration_schema
from cli.exit_codes import EXIT_CODES
from cli.main import new_app
from oci import errors
from oci.errors import EntrepotError
from registry_api.http.errors import row_of
from registry_api.metrics.families import FAMILIES, GAUGES, SECONDS, full_name
from scripts.architecture import package_drawings, rooms_drawing, tree
from scripts.http_reference import http_reference

ROOT = Path(__file__).resolve().parent.parent


def table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- settings --------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """Return a table of every setting: variable, default, kind, meaning."""
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
    if READS_DURATION in field.metadata or READS_SIZE in field.metadata:
        return "duration" if READS_DURATION in field.metadata else "size"
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
    """Return every class of the tree that names a fault, in the order of the file; not those that only group others."""
    return [
        found
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, EntrepotError) and found not in GROUPS
    ]


def errors_table() -> str:
    """Return a table of every error: whose fault, what the registry responds, and the exit code of commands."""
    rows = (
        (
            f"`{found.__name__}`",
            found.side,
            str(row_of(found).status),
            f"`{found.code}`",
            str(_exit_code(found)),
            "yes" if found.retryable else "no",
            (found.__doc__ or "").split("\n\n")[0].replace("\n", " ").strip(),
        )
        for found in error_classes()
    )
    return table(("error", "at fault", "status", "code", "exit code", "tried again", "meaning"), rows)


def _exit_code(kind: type[EntrepotError]) -> int:
    return next(code for parent, code in EXIT_CODES if issubclass(kind, parent))


# --- commands --------------------------------------------------------------------------------------------------

Command = TyperCommand | TyperGroup


def commands() -> dict[tuple[str, ...], Command]:
    """Return every command by its words, groups included: `("entrepot", "version", "list")`."""

    def walk(words: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], Command]]:
        if isinstance(command, TyperGroup):
            yield words, command
            for name, child in command.commands.items():
                yield from walk((*words, name), child)
        elif isinstance(command, TyperCommand) and not command.hidden:
            yield words, command

    return dict(walk(("entrepot",), get_command(new_app())))


def option_names(command: Command) -> set[str]:
    """Return all spellings of a command's options, `--help` among them."""
    options = [part for part in command.params if isinstance(part, TyperOption)]
    return {"-h", "--help", *(name for part in options for name in (*part.opts, *part.secondary_opts))}


def command_reference() -> str:
    """Return a section for every command: usage, what it does, arguments and options."""
    return "\n\n".join(
        _describe(words, command) for words, command in commands().items() if not isinstance(command, TyperGroup)
    )


def _describe(words: tuple[str, ...], command: Command) -> str:
    name = " ".join(words)
    arguments = [part for part in command.params if isinstance(part, TyperArgument)]
    options = [part for part in command.params if isinstance(part, TyperOption) and not part.hidden]
    usage = " ".join([name, *(_metavar(part) for part in arguments), *(["[OPTION]…"] if options else [])])
    rows = [(f"`{_metavar(part)}`", part.help or "") for part in arguments]
    rows += [(_spelling(part), _meaning(part)) for part in options if part.name != "help"]
    parts = [f"### `{name}`", f"`{usage}`", inspect.cleandoc(command.help or "").replace("\n\n", "\n")]
    return "\n\n".join([*parts, table(("argument or option", "meaning"), iter(rows))] if rows else parts)


def _metavar(argument: TyperArgument) -> str:
    return argument.metavar or (argument.name or "").upper()


def _spelling(option: TyperOption) -> str:
    if option.secondary_opts:
        return f"`{', '.join(option.opts)}` / `{', '.join(option.secondary_opts)}`"
    value = "" if option.is_flag else f" {option.metavar or _value(option)}"
    return f"`{', '.join(option.opts)}{value}`"


def _value(option: TyperOption) -> str:
    kind: object = option.type_descriptor.annotation
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    return "NUMBER" if kind in (int, float) or int in get_args(kind) else "TEXT"


def _meaning(option: TyperOption) -> str:
    text = option.help or ""
    if option.is_flag or option.default in (None, (), "") or "default" in text.lower():
        return text
    return f"{text} Default: {option.default}.".strip()


# --- questions in SQL ------------------------------------------------------------------------------------------


def views_table() -> str:
    """Return a section for every documented view, with its columns."""
    return "\n\n".join(
        f"### `{view}`\n\n{_sentence(MEANINGS[view])}\n\n"
        + table(("column", "type", "meaning"), ((f"`{one.name}`", f"`{one.kind}`", one.meaning) for one in columns))
        for view, columns in COLUMNS.items()
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def metrics_table() -> str:
    """Return a table of every metric: name, kind, labels, meaning."""
    rows = (
        (
            f"`{full_name(family)}`",
            "gauge" if family in GAUGES else "histogram" if family == SECONDS else "counter",
            ", ".join(f"`{label}`" for label in family.labels),
            family.meaning,
        )
        for family in FAMILIES
    )
    return table(("metric", "kind", "labels", "meaning"), rows)


def questions_table() -> str:
    """Return a section for every named query: what it answers, its parameters, its SQL."""
    return "\n\n".join(
        "\n\n".join(
            part
            for part in (
                f"### `{one.name}`",
                f"{one.title}.",
                "\n".join(f"- `${part.name}`: {part.meaning}, by default `{part.default}`" for part in one.parameters),
                f"```sql\n{one.sql}\n```",
            )
            if part
        )
        for one in named_questions().values()
    )


def measured_rows() -> str:
    """Return the rows of docs/benchmarks.md whose peer is another registry."""
    lines = (ROOT / "docs" / "benchmarks.md").read_text().partition("## What was measured")[2].splitlines()
    first = next(place for place, line in enumerate(lines) if line.startswith("| what |"))
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines[first:])
    return "\n".join(row for row in rows if not any(words in row for words in _OTHER_PEERS))


_OTHER_PEERS = ("against nginx", "against one", "against 10", "against DuckDB", "bundle", "build an image", "| - | - |")
"""Marks of rows whose peer is a web server, a tool, Entrepôt itself, or nobody."""


# --- the files -------------------------------------------------------------------------------------------------

GENERATED: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "docs/settings.md": {"settings": settings_table},
    "docs/errors.md": {"errors": errors_table},
    "docs/architecture.md": {"rooms": rooms_drawing, "packages": package_drawings, "tree": tree},
    "docs/cli.md": {"commands": command_reference},
    "docs/comparison.md": {"measured": measured_rows},
    "docs/http.md": {"operations": http_reference},
    "docs/metrics.md": {"metrics": metrics_table},
    "docs/sql.md": {"views": views_table, "questions": questions_table},
}


def schema_text() -> str:
    """Return the JSON Schema of a configuration file, as it is kept beside the pages."""
    return json.dumps(configuration_schema(), indent=1, ensure_ascii=False) + "\n"


def policy_schema_text() -> str:
    """Return the JSON Schema of a trust policy, as it is kept beside the pages."""
    return json.dumps(policy_schema(), indent=1, ensure_ascii=False) + "\n"


WRITTEN: Mapping[str, Callable[[], str]] = {
    "docs/entrepot.schema.json": schema_text,
    "docs/trust-policy.schema.json": policy_schema_text,
}
"""Files that follow whole from the code."""


def replace_tables(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """Return `text` with the parts between its `generated: NAME` markers made anew."""
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
    for name, make in WRITTEN.items():
        (ROOT / name).write_text(make())
        print(f"{name}: whole")  # noqa: T201  # as above
    return 0


if __name__ == "__main__":
    sys.exit(main())
