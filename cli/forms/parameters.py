"""Parameters of a command from the fields of a form: one declaration makes the option, its help, and its row in the docs."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cli import completion
from cli.forms.kinds import FieldKind
from flows.forms.parameters import Argument, Choice, Group, Option, SetBy, Switch

COMPLETIONS: Mapping[str, Callable[[typer.Context, str], list[str]]] = {
    "repository": completion.repositories,
    "version": completion.versions,
    "tag": completion.tags_of,
}
LAST = "dry_run"
"""The field that help shows last."""


@dataclass(frozen=True, slots=True)
class FormParameter:
    """One parameter of a command, and the field that it sets."""

    path: tuple[str, ...]
    name: str
    label: str
    """How messages call it: `--include`, `NAME`."""
    annotation: Any
    default: object
    read: Callable[[Any], object] = lambda value: value
    """What the field gets for a value of the command line; None: nothing."""

    @property
    def parameter(self) -> inspect.Parameter:
        """Return it as a parameter of a function, as typer reads it."""
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=self.annotation
        )


def parameters_of(form: type[BaseModel], *, flags: Mapping[str, str] | None = None) -> list[FormParameter]:
    """Return the parameters that set the fields of a form, arguments first. `flags` has other flags, by field."""
    found = list(_parameters(form, (), flags or {}))
    return sorted(found, key=lambda one: (one.label.startswith("-"), one.path == (LAST,)))


def collect_values(parameters: list[FormParameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the command line says, by field, forms within a form as dictionaries."""
    said: dict[str, Any] = {}
    for one in parameters:
        value = None if values[one.name] is None else one.read(values[one.name])
        if value is None:
            continue
        *groups, field = one.path
        place = said
        for group in groups:
            place = place.setdefault(group, {})
        place[field] = value
    return said


def _parameters(form: type[BaseModel], within: tuple[str, ...], flags: Mapping[str, str]) -> Iterator[FormParameter]:
    for name in fields_in_order(form):
        field, path = form.model_fields[name], (*within, name)
        for declared in declarations(field):
            match declared:
                case SetBy():
                    pass
                case Group():
                    yield from _parameters(_form_of(field), path, declared.flags)
                case Switch():
                    yield _switch(path, declared)
                case Choice():
                    yield _choice(path, field, declared)
                case Argument():
                    yield _argument(path, field, declared)
                case Option():
                    yield _option(path, field, declared, flags.get(name) or declared.flag)


def fields_in_order(form: type[BaseModel]) -> list[str]:
    """Return the fields of a form: its own, then those of the forms that it extends."""
    forms = [kind for kind in form.__mro__ if issubclass(kind, BaseModel) and kind is not BaseModel]
    names = dict.fromkeys(name for kind in forms for name in inspect.get_annotations(kind))
    return [name for name in names if name in form.model_fields]


Declaration = Option | Argument | Choice | Switch | SetBy | Group


def declarations(field: FieldInfo) -> list[Declaration]:
    """Return how a field is offered; by default as an option that is named after it."""
    found = [one for one in field.metadata if isinstance(one, Declaration)]
    return found if any(not isinstance(one, Switch) for one in found) else [Option(), *found]


def _form_of(field: FieldInfo) -> type[BaseModel]:
    assert isinstance(field.annotation, type)
    assert issubclass(field.annotation, BaseModel)
    return field.annotation


def _switch(path: tuple[str, ...], declared: Switch) -> FormParameter:
    return FormParameter(
        path,
        declared.flag.lstrip("-").replace("-", "_"),
        declared.flag,
        Annotated[bool, typer.Option(declared.flag, help=declared.help)],
        False,
        lambda is_set: declared.value if is_set else None,
    )


def _choice(path: tuple[str, ...], field: FieldInfo, declared: Choice) -> FormParameter:
    return FormParameter(
        path,
        "_".join(path),
        f"--{declared.on}",
        Annotated[bool, typer.Option(declared.flag, help=field.description)],
        field.default == declared.on,
        lambda is_on: declared.on if is_on else declared.off,
    )


def _argument(path: tuple[str, ...], field: FieldInfo, declared: Argument) -> FormParameter:
    kind = FieldKind.of(field)
    is_required = field.is_required() if declared.is_required is None else declared.is_required
    metavar = declared.metavar or kind.metavar or path[-1].upper()
    label = metavar
    if declared.is_required is None:
        metavar = f"{metavar}…" if kind.is_list else metavar
        metavar = metavar if is_required else f"[{metavar}]"
    low, high = (None, None) if kind.is_text else _bounds(field)
    shown = typer.Argument(
        metavar=metavar,
        help=field.description,
        min=low,
        max=high,
        show_default=False,
        autocompletion=COMPLETIONS.get(declared.completes),
    )
    plain = kind.plain if is_required else kind.plain | None
    default = inspect.Parameter.empty if is_required else None
    return FormParameter(
        path, "_".join(path), label, Annotated[plain, shown], default, kind.reader(label, absolute=declared.absolute)
    )


def _option(path: tuple[str, ...], field: FieldInfo, declared: Option, flag: str) -> FormParameter:
    kind = FieldKind.of(field)
    flag = flag or f"--{path[-1].replace('_', '-')}"
    low, high = (None, None) if kind.is_text else _bounds(field)
    shown = typer.Option(
        flag,
        *filter(None, [declared.short]),
        metavar=declared.metavar or kind.metavar or None,
        help=field.description,
        min=low,
        max=high,
    )
    default = _default(field, kind)
    plain = kind.plain if default is not None else kind.plain | None
    label = flag.partition("/")[0]
    return FormParameter(
        path, "_".join(path), label, Annotated[plain, shown], default, kind.reader(label, absolute=declared.absolute)
    )


def _default(field: FieldInfo, kind: FieldKind) -> object:
    """Return the default that typer shows and gives; None for a list, whose default stays the form's."""
    if field.is_required():
        return inspect.Parameter.empty
    value = field.get_default(call_default_factory=True, validated_data={})
    if kind.is_list:
        return None
    if kind.is_text and value is not None:
        return _with_unit(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_unit(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves it whole: `50MB`."""
    units = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))
    return next((f"{count // size}{unit}" for size, unit in units if count and count % size == 0), str(count))


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    """Return the least and the highest number, as far as the field has them."""
    low = next((one.ge for one in field.metadata if isinstance(one, Ge)), None)
    high = next((one.le for one in field.metadata if isinstance(one, Le)), None)
    return low, high
