"""Who may do what at another product, as its management API says it. No secret is read: APIs give none, or it is left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SubjectKind = Literal["user", "robot", "group"]
ForeignAction = Literal["pull", "push", "delete"]


@dataclass(frozen=True, slots=True)
class ForeignRole:
    """What a subject may do in a project, or in one `repository` of it, by its path. `role` is the product's word.

    A project is what all paths in it begin with, one part or more.
    """

    kind: SubjectKind
    name: str
    role: str
    actions: tuple[ForeignAction, ...]
    project: str
    repository: str = ""


@dataclass(slots=True)
class ForeignAccess:
    """The roles of a product, and the members of its groups by the group's name: users and robots."""

    roles: list[ForeignRole] = field(default_factory=list)
    groups: dict[str, list[tuple[SubjectKind, str]]] = field(default_factory=dict)


def known_actions(names: Mapping[str, bool]) -> tuple[ForeignAction, ...]:
    """Return the actions that are set, in their usual order. Pure."""
    every: tuple[ForeignAction, ...] = ("pull", "push", "delete")
    return tuple(action for action in every if names.get(action))
