"""The filter language as options, the same for every command that takes filters. Source: docs/filters.md."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import Exclude, Include
from cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.filters.tags import Selection


def _repeated(flag: str, metavar: str, text: str) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, metavar=metavar, help=text)]


_PAIR = "KEY[=VALUE]"
_OPTIONS: Mapping[str, tuple[Any, object]] = {
    "include": (Include, None),
    "exclude": (Exclude, None),
    "types": (
        _repeated("--type", "TYPE", "Only these: image, helm, sbom, …, or globs of artifact types; !TYPE: not these."),
        None,
    ),
    "labels": (
        _repeated("--label", _PAIR, "Only what has this label (a glob of values); !KEY, KEY!=VALUE: has it not."),
        None,
    ),
    "annotations": (_repeated("--annotation", _PAIR, "Only what has this annotation; as for labels."), None),
    "newer_than": (
        Annotated[str, typer.Option("--newer-than", metavar="AGE", help="Created after: 30d, 12h, or 2026-01-31.")],
        "",
    ),
    "older_than": (
        Annotated[str, typer.Option("--older-than", metavar="AGE", help="Created before: 30d, 12h, or 2026-01-31.")],
        "",
    ),
    "signed": (Annotated[bool, typer.Option("--signed", help="Only what is signed, by whoever.")], False),
    "newest": (
        Annotated[
            int | None, typer.Option("--newest", metavar="N", help="Of all those only the N newest versions.", min=1)
        ],
        None,
    ),
    "newest_of": (
        Annotated[
            Literal["repository", "major", "minor"],
            typer.Option(
                "--newest-of", help="Count the newest of all tags, of each major version, or of each minor one."
            ),
        ],
        "repository",
    ),
    "newest_by": (
        Annotated[
            Literal["version", "created"],
            typer.Option("--newest-by", help="Newest is the highest version, or what was created last."),
        ],
        "version",
    ),
    "platforms": (
        _repeated("--platform", "OS/ARCH", "Of multi-platform images only these; may be repeated. Digests stay."),
        None,
    ),
}
"""By field of flows/forms/filters.py: the option, and its default."""


def with_filters(command: Callable[..., None], *, flags: Mapping[str, str] | None = None) -> Callable[..., None]:
    """Give a command the options of filters; it gets what is said, by field of the form, as its argument `filters`.

    `flags` names options anew that the command has for something else.
    """
    own = inspect.signature(command)
    options = [
        inspect.Parameter(
            f"filter_{name}",
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=_renamed(kind, (flags or {}).get(name)),
        )
        for name, (kind, default) in _OPTIONS.items()
    ]
    parameters = list(own.parameters.values())
    place = next(number for number, parameter in enumerate(parameters) if parameter.name == "filters")

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        found = {name: values.pop(f"filter_{name}") for name in _OPTIONS}
        filters = {name: value for name, value in found.items() if value is not None}
        command(*arguments, **values, filters=filters)

    shown = [*parameters[:place], *options, *parameters[place + 1 :]]
    run.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]  # what typer looks at
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return run


def _renamed(kind: Any, flag: str | None) -> Any:
    if flag is None:
        return kind
    plain, option = kind.__origin__, kind.__metadata__[0]
    return Annotated[plain, typer.Option(flag, metavar=option.metavar, help=option.help)]


Judged = Sequence[tuple[str, bool, str]]
"""What was looked at, whether it is taken, and the rule that says so."""


def judged(selection: "Selection") -> Judged:
    """A selection as rows."""
    kept = [(tag, True, rule) for tag, rule in selection.rules.items()]
    return [*kept, *((tag, False, reason) for tag, reason in selection.dropped.items())]


def show_judged(rows: Judged, *, as_json: bool) -> None:
    """Print each tag with the rule that keeps or drops it."""
    if as_json:
        print_json([{"tag": tag, "selected": kept, "rule": rule} for tag, kept, rule in rows])
        return
    print_table(("TAG", "SELECTED", "RULE"), [(tag, "yes" if kept else "no", rule) for tag, kept, rule in rows])
    print_line(f"{sum(kept for _tag, kept, _rule in rows)} of {len(rows)} tags are selected")
