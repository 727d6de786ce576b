"""Choices that several forms offer."""

from typing import Annotated, Literal

from flows.forms.parameters import Choice

Mode = Annotated[Literal["additive", "mirror"], Choice("mirror", "additive")]
"""What becomes of content that the source of an operation does not have."""

OnError = Literal["fail", "skip"]
"""What becomes of the rest when one item fails."""
