"""How the command line offers a field of a form: metadata that stands in the field's `Annotated`.

A field without any is offered as an option named after it. The field's description is the help of its option or argument,
so that form, help and docs have one text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Completes = Literal["", "repository", "version", "tag"]
"""What the shell completes."""


@dataclass(frozen=True, slots=True)
class Metavar:
    """The word for a value of this type in help: `PATTERN`. `is_text`: the form reads a text as well as a number."""

    text: str
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """An option. `flag` is `--name`, or `--on/--off` for a bool; empty: named after the field.

    `absolute` makes a path absolute, for flows that run in another folder.
    """

    flag: str = ""
    short: str = ""
    metavar: str = ""
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """A positional argument. `is_required` is for a field that another argument may take the place of; None: as the field is."""

    metavar: str = ""
    is_required: bool | None = None
    completes: Completes = ""
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Two flags for a field of two values: `--mirror/--additive`."""

    on: str
    off: str

    @property
    def flag(self) -> str:
        """Return the flags as typer reads them."""
        return f"--{self.on}/--{self.off}"


@dataclass(frozen=True, slots=True)
class Switch:
    """One more flag for a field, which sets it to `value`; it has a help of its own."""

    flag: str
    value: object
    help: str


@dataclass(frozen=True, slots=True)
class SetBy:
    """No option: another parameter of the command sets this field, such as `NAME[:TAG]` the tag."""

    parameter: str


@dataclass(frozen=True, slots=True)
class Group:
    """A form within the form: its fields are offered beside the others, some under other flags, by field."""

    flags: Mapping[str, str]
