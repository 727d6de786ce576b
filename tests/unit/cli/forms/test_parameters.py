"""Which parameters the fields of a form become, and what they set."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import BaseModel, Field

from cli.forms.parameters import collect_values, fields_in_order, parameters_of
from flows.forms.parameters import Argument, Choice, Group, Metavar, Option, SetBy, Switch
from oci.errors import InvalidInput

Word = Annotated[str, Metavar("WORD")]


class Common(BaseModel):
    """Fields of a form that others extend."""

    words: Annotated[tuple[Word, ...], Option("--word"), Switch("--no-words", (), "None.")] = Field(
        default=("a",), description="Words."
    )


class Everything(Common):
    """A field of each kind."""

    name: Annotated[str, Argument("NAME")] = Field(description="A name.")
    others: Annotated[tuple[Path, ...], Argument(absolute=True)] = Field(default=(), description="Files.")
    mode: Annotated[Literal["add", "mirror"], Choice("mirror", "add")] = "add"
    dry_run: bool = False
    hours: float = Field(default=24.0, ge=0)
    count: int | None = Field(default=None, ge=1, le=5)
    size: Annotated[int, Metavar("SIZE", is_text=True)] = 50_000_000
    limit: Annotated[int | None, Metavar("SIZE", is_text=True)] = None
    pairs: Annotated[dict[str, str], Option("--pair")] = Field(default_factory=dict)
    tag: Annotated[str, SetBy("NAME")] = ""
    inner: Annotated[Common, Group({"words": "--inner-word"})] = Field(default_factory=Common)


PARAMETERS = parameters_of(Everything)


def info(path: tuple[str, ...]) -> Any:
    """What typer is told of the last parameter of a field."""
    return next(one for one in PARAMETERS if one.path == path).annotation.__metadata__[0]


def test_own_fields_come_before_those_of_the_form_that_it_extends() -> None:
    assert fields_in_order(Everything)[0] == "name"
    assert fields_in_order(Everything)[-1] == "words"


def test_arguments_come_first_and_dry_run_last() -> None:
    assert [one.label for one in PARAMETERS] == [
        *("NAME", "FILE"),
        *(
            "--mirror",
            "--hours",
            "--count",
            "--size",
            "--limit",
            "--pair",
            "--inner-word",
            "--no-words",
            "--word",
            "--no-words",
            "--dry-run",
        ),
    ]


@pytest.mark.parametrize(
    ("path", "metavar"),
    [
        (("name",), "NAME"),
        (("others",), "[FILE…]"),
        (("words",), "WORD"),
        (("inner", "words"), "WORD"),
        (("count",), "NUMBER"),
        (("pairs",), "NAME=VALUE"),
    ],
)
def test_metavar_follows_from_declaration_and_type(path: tuple[str, ...], metavar: str) -> None:
    assert info(path).metavar == metavar


def test_bounds_and_default_are_the_fields() -> None:
    assert (info(("count",)).min, info(("count",)).max) == (1, 5)
    defaults = {one.path: one.default for one in PARAMETERS}
    assert defaults[("hours",)] == 24
    assert (defaults[("size",)], defaults[("limit",)]) == ("50MB", None)


def test_what_is_said_is_the_fields_value() -> None:
    values = {one.name: None for one in PARAMETERS} | {
        "name": "x", "others": [Path("f")], "mode": True, "no_words": False, "pairs": ["a=b=c"], "inner_words": ["w"],
    }  # fmt: skip
    said = collect_values(PARAMETERS, values)
    assert said == {
        "name": "x", "others": [Path("f").absolute()], "mode": "mirror", "pairs": {"a": "b=c"}, "inner": {"words": ["w"]},
    }  # fmt: skip
    assert Everything.model_validate(said).words == ("a",)


def test_a_switch_sets_its_value() -> None:
    parameters = parameters_of(Common)
    assert collect_values(parameters, {"words": None, "no_words": True}) == {"words": ()}
    assert collect_values(parameters, {"words": ["b"], "no_words": False}) == {"words": ["b"]}


def test_a_pair_without_a_value_is_refused() -> None:
    (pairs,) = [one for one in PARAMETERS if one.path == ("pairs",)]
    with pytest.raises(InvalidInput, match="--pair: expected NAME=VALUE"):
        pairs.read(["x"])


def test_typer_takes_the_parameters() -> None:
    assert all(isinstance(one.annotation.__metadata__[0], typer.models.ParameterInfo) for one in PARAMETERS)
