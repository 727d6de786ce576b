"""The form of a promotion: fields that do not go together."""

import pytest
from pydantic import ValidationError

from flows.promote.request import PromoteRequest


def test_a_timeout_of_an_approval_that_nobody_asks_for_is_refused() -> None:
    with pytest.raises(ValidationError, match="approval_timeout needs approval"):
        PromoteRequest(source="a", repository="b", approval_timeout="2d")
    with pytest.raises(ValidationError, match="approval_timeout needs approval"):
        PromoteRequest(source="a", repository="b", approval=False, approval_timeout="2d")


def test_a_timeout_goes_with_an_approval_and_with_its_default() -> None:
    assert PromoteRequest(source="a", repository="b", approval=True, approval_timeout="2d").approval_timeout == "2d"
    assert PromoteRequest(source="a", repository="b", approval_timeout="1d").approval is False
