"""Choices that several forms offer."""

from typing import Literal

Mode = Literal["additive", "mirror"]

OnError = Literal["fail", "skip"]
