"""A command whose parameters come from a form: it is imported when the command is run, or its help is shown, not before."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

import typer
from typer.core import TyperArgument, TyperCommand

if TYPE_CHECKING:
    from pydantic import BaseModel
    from typer._click import Context, Parameter

    from cli.forms.parameters import FormParameter

_Form = TypeVar("_Form", bound="BaseModel")
_Own = ParamSpec("_Own")
_CONTEXT = "typer_context"

Adapt = Callable[..., dict[str, Any]]
"""Takes what the command line says, by field, and parameters of its own; returns what the form is given."""


class FormCallback:
    """The function of a command that takes a filled form, before typer's parameters are made."""

    def __init__(self, command: "Callable[..., None]", form: "Callable[[], type[BaseModel]]", adapt: Adapt) -> None:
        self.__name__, self.__doc__ = command.__name__, command.__doc__
        self.__signature__, self.__annotations__ = inspect.Signature(), {}
        self.command, self.form, self.adapt = command, form, adapt
        self.form_callback = self

    def __call__(self) -> None:
        """Refuse: FormCommand calls what `complete` returns."""
        raise AssertionError("register it with cls=FormCommand")

    def own_parameters(self) -> list[inspect.Parameter]:
        """Return the parameters besides the form's: the command's after its context and form, `adapt`'s after what is said."""
        return [*_after(self.adapt, 1), *_after(self.command, 2)]

    def form_parameters(self) -> "list[FormParameter]":
        """Return the parameters that set fields of the form."""
        from cli.forms.parameters import parameters_of

        return parameters_of(self.form())

    def complete(self) -> Callable[..., None]:
        """Return the function with all its parameters, as typer reads them."""
        from cli.forms.parameters import collect_values
        from cli.forms.reading import read_form

        offered, own = self.form_parameters(), self.own_parameters()
        context = inspect.Parameter(_CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        shown = [context, *(one.parameter for one in offered), *(one.replace(kind=context.kind) for one in own)]

        @functools.wraps(self.command)
        def run(**values: Any) -> None:
            mine, adapted = (
                {one.name: values[one.name] for one in some}
                for some in (_after(self.command, 2), _after(self.adapt, 1))
            )
            said = self.adapt(collect_values(offered, values), **adapted)
            request = read_form(self.form(), said, {one.path: one.label for one in offered})
            self.command(values[_CONTEXT], request, **mine)

        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # what typer looks at
        run.__annotations__ = {one.name: one.annotation for one in shown}
        return run


def _after(function: Callable[..., Any], count: int) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[count:]


def _as_said(said: dict[str, Any]) -> dict[str, Any]:
    return said


def from_form(
    form: Callable[[], type[_Form]], *, adapt: Adapt = _as_said
) -> Callable[[Callable[Concatenate[typer.Context, _Form, _Own], None]], FormCallback]:
    """Give a command the parameters of a form; it gets the filled form as its second argument.

    `adapt` is for what is no field's value as it stands: `NAME[:TAG]`, a file of fields.
    """

    def decorate(command: Callable[Concatenate[typer.Context, _Form, _Own], None]) -> FormCallback:
        return FormCallback(command, form, adapt)

    return decorate


class FormCommand(TyperCommand):
    """A command of typer's over a `FormCallback`: its parameters are made when they are first looked at."""

    def __init__(self, name: str | None, *, callback: Callable[..., Any] | None = None, **settings: Any) -> None:
        self.form_callback = cast("FormCallback", getattr(callback, "form_callback", None))
        super().__init__(name, **{**settings, "params": []})

    @functools.cached_property
    def _complete(self) -> TyperCommand:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command()(self.form_callback.complete())
        return cast("TyperCommand", typer.main.get_command(app))

    @property
    def params(self) -> "list[Parameter]":
        """Return the parameters."""
        return self._complete.params

    @params.setter
    def params(self, value: "list[Parameter]") -> None:
        """Keep none: they come from the form."""

    def invoke(self, ctx: "Context") -> Any:
        """Run the command."""
        return ctx.invoke(cast("Callable[..., Any]", self._complete.callback), **ctx.params)

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """Return the usage line: arguments as they are declared."""
        arguments = [param for param in self.get_params(ctx) if isinstance(param, TyperArgument)]
        return [self.options_metavar or "", *(param.metavar or param.name for param in arguments)]
