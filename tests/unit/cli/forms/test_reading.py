"""What is said of values that do not fit a form."""

import pytest
from pydantic import BaseModel, Field, model_validator

from cli.forms.reading import read_form
from flows.forms.faults import misfit
from oci.errors import InvalidInput


class Inner(BaseModel):
    """A form within a form."""

    size: int = 0


class Pair(BaseModel):
    """Two numbers that have to differ, and others."""

    one: int = 0
    two: int = 1
    many: tuple[str | Inner, ...] = Field(default=())
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _check(self) -> "Pair":
        if self.one == self.two:
            raise misfit("{one} and {two}: expected two numbers")
        return self


NAMES = {("one",): "--one", ("two",): "--second", ("many",): "MANY", ("inner", "size"): "--inner-size"}


@pytest.mark.parametrize(
    ("values", "by_field", "by_option"),
    [
        ({"one": "x"}, "one: Input should be", "--one: Input should be"),
        ({"two": 0}, "one and two: expected", "--one and --second: expected"),
        ({"inner": {"size": "x"}}, "inner.size: Input", "--inner-size: Input"),
        ({"many": ["a", {"size": "x"}]}, "many[1].size: Input", "many[1].size: Input"),
        ({"many": [1]}, "many[0]: Input", "MANY: Input"),
        ({"three": 1, "one": None}, "one: Input", "--one: Input"),
    ],
)
def test_a_fault_names_the_field_or_its_option(values: dict[str, object], by_field: str, by_option: str) -> None:
    for names, expected in (({}, by_field), (NAMES, by_option)):
        with pytest.raises(InvalidInput) as caught:
            read_form(Pair, values, names)
        assert caught.value.message.startswith(expected)


def test_a_value_is_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_form(Pair, {"one": "secret"})
    assert "secret" not in caught.value.message


def test_a_fault_of_one_branch_of_a_union_hides_the_others() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_form(Pair, {"many": [{"size": "x"}]})
    assert ";" not in caught.value.message
