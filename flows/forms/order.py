"""What Prefect's page shows of a form besides its fields: their order, forms within the form, blocks in the place of texts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class FieldOrder:
    """The fields that matter first, besides the required, and those that hardly ever matter."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()

    def sort(self, names: Iterable[str], required: Sequence[str]) -> list[str]:
        """Return names by importance: the required, then as `first` says, then the rest as it stands, then `last`."""
        given = list(names)
        leading = [*required, *(name for name in self.first if name in given and name not in required)]
        trailing = [name for name in self.last if name in given and name not in leading]
        return [*leading, *(name for name in given if name not in (*leading, *trailing)), *trailing]


@dataclass(frozen=True, slots=True)
class Shown:
    """The fields that are shown of a form within a form; metadata that stands in the field's `Annotated`."""

    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FromBlock:
    """The type of block of Prefect's that a text may also come from; metadata that stands in the field's `Annotated`."""

    kind: str


def block_fields(form: type[BaseModel]) -> Mapping[str, str]:
    """Return the fields of a form that take a block, with its type."""
    return {
        name: one.kind
        for name, field in form.model_fields.items()
        for one in field.metadata
        if isinstance(one, FromBlock)
    }


def first_fields(form: type[BaseModel]) -> FieldOrder:
    """Return the order that a form asks for by its class variable `field_order`."""
    found = getattr(form, "field_order", FieldOrder())
    assert isinstance(found, FieldOrder)
    return found


def shown_fields(form: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    """Return the fields of a form that show some fields of theirs only, with these."""
    return {
        name: one.fields
        for name, field in form.model_fields.items()
        for one in field.metadata
        if isinstance(one, Shown)
    }
