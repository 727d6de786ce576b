"""What commands say of values that do not fit."""

import pytest
from pydantic import BaseModel, model_validator

from cli.flow_runs import read_form
from oci.errors import InvalidInput


class Pair(BaseModel):
    """Two numbers that have to differ."""

    one: int = 0
    two: int = 1

    @model_validator(mode="after")
    def _check(self) -> "Pair":
        if self.one == self.two:
            raise ValueError("one and two are the same")
        return self


def test_a_fault_of_a_field_is_named_by_it_and_one_of_the_whole_stands_alone() -> None:
    with pytest.raises(InvalidInput, match=r"^one and two are the same$"):
        read_form(Pair, one=1)
    with pytest.raises(InvalidInput, match=r"^one: Input should be a valid integer"):
        read_form(Pair, one="x")
